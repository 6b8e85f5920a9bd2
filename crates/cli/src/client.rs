//! The service as it is reached from outside: over the project's socket, or over TCP with a token.
//!
//! One method for each thing that the service does, with the very types of the service. Nothing
//! is decided here. By default every text in an answer is made harmless for a terminal.

mod sse;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use kapelle_coordinator::http::SocketPath;
use kapelle_runtime::telemetry::Chain;
use reqwest::{Method, Response, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Problem};
use crate::output::scrub;
use crate::view::{
    AttemptView, CommandAccepted, CommandRequest, CommandView, EventPage, EventView,
    FeedbackAccepted, FeedbackRequest, GoalRequest, GoalView, HealthView, InvitationRequest,
    InvitationView, LogPage, ReportView, RevocationView, RunAccepted, RunDetail, RunPage,
    RunRequest, StatusView, StopAccepted, StopRequest, TaskView, WhyView, WorkerDuty, WorkerView,
};
use sse::Decoder;

/// How long a coordinator may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer. Long polls ask for less than this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// An answer without a sign of life for this long has died; heartbeats come every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What becomes of hostile text in answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Texts {
    /// It is made harmless for a terminal.
    #[default]
    Harmless,
    /// It stays as it is, for output that escapes it.
    Raw,
}

/// One entry of the event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Something happened.
    Event(Box<EventView>),
    /// The place to go on from isn't known any more: look at everything again.
    Reset,
}

/// Speaks to one coordinator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    /// The socket or address, for messages.
    place: String,
    texts: Texts,
    /// Keeps the path to the socket valid.
    _socket: Option<Arc<SocketPath>>,
}

impl Client {
    /// For the coordinator that listens on the socket at `path`.
    ///
    /// # Errors
    /// [`Error::Connection`] when the client can't be made. Whether anybody listens shows later.
    pub fn socket(path: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        // What can't be shortened is not there: connecting will say so.
        let socket = SocketPath::new(path).ok().map(Arc::new);
        let reachable = socket.as_deref().map_or(path, SocketPath::path);
        let builder = reqwest::Client::builder().unix_socket(reachable);
        // The name is only there because HTTP wants one.
        let client = Self::new(builder, "http://kapelle/", place)?;
        Ok(Self { _socket: socket, ..client })
    }

    /// For the coordinator at `url`, with the token that it wants to see.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Connection`].
    pub fn remote(url: &str, token: Option<&str>) -> Result<Self, Error> {
        let mut headers = header::HeaderMap::new();
        if let Some(token) = token {
            let mut value = header::HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| bad_address(url, "KAPELLE_AUTH_TOKEN has signs that no token has"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let builder = reqwest::Client::builder().default_headers(headers);
        let mut base = url.to_owned();
        if !base.ends_with('/') {
            base.push('/');
        }
        Self::new(builder, &base, url.to_owned())
    }

    fn new(builder: reqwest::ClientBuilder, base: &str, place: String) -> Result<Self, Error> {
        let base = Url::parse(base).map_err(|error| bad_address(&place, &error.to_string()))?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(bad_address(
                &place,
                "only http:// is spoken; put TLS in front by a tunnel",
            ));
        }
        let http = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            .no_proxy()
            .build()
            .map_err(|source| Error::Connection { place: place.clone(), source })?;
        Ok(Self { http, base, place, texts: Texts::default(), _socket: None })
    }

    /// The same client with another treatment of hostile text.
    #[must_use]
    pub fn with_texts(mut self, texts: Texts) -> Self {
        self.texts = texts;
        self
    }

    /// The socket or address that it speaks to.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Who answers.
    ///
    /// # Errors
    /// Like all that follow: [`Error::Refused`] with what the service says, or one of the errors
    /// that mean that it can't be reached or understood.
    pub async fn health(&self) -> Result<HealthView, Error> {
        self.get(&["health"], &[]).await
    }

    /// The project at a glance.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn status(&self) -> Result<StatusView, Error> {
        self.get(&["api", "v1", "status"], &[]).await
    }

    /// A page of runs, newest first, from before `before`.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn runs(&self, before: Option<&str>, limit: u32) -> Result<RunPage, Error> {
        let limit = limit.to_string();
        let query = [("before", before), ("limit", Some(limit.as_str()))];
        self.get(&["api", "v1", "runs"], &query).await
    }

    /// A run with its tasks.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn run(&self, id: &str) -> Result<RunDetail, Error> {
        self.get(&["api", "v1", "runs", id], &[]).await
    }

    /// Starts a run, or says what it would be.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn submit(&self, request: &RunRequest) -> Result<RunAccepted, Error> {
        self.post(&["api", "v1", "runs"], request).await
    }

    /// Stops a task, a run, or everything.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn stop(&self, request: &StopRequest) -> Result<StopAccepted, Error> {
        self.post(&["api", "v1", "stop"], request).await
    }

    /// Goes on with a run that was interrupted or did not succeed.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn resume(&self, id: &str) -> Result<RunDetail, Error> {
        self.post(&["api", "v1", "runs", id, "resume"], &serde_json::json!({})).await
    }

    /// A run, told from its beginning to its end.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn report(&self, id: &str) -> Result<ReportView, Error> {
        self.get(&["api", "v1", "runs", id, "report"], &[]).await
    }

    /// A task.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn task(&self, id: &str) -> Result<TaskView, Error> {
        self.get(&["api", "v1", "tasks", id], &[]).await
    }

    /// The attempts at a task, oldest first.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn attempts(&self, id: &str) -> Result<Vec<AttemptView>, Error> {
        self.get(&["api", "v1", "tasks", id, "attempts"], &[]).await
    }

    /// What was said to a task.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn commands(&self, id: &str) -> Result<Vec<CommandView>, Error> {
        self.get(&["api", "v1", "tasks", id, "commands"], &[]).await
    }

    /// Says something to a task.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn feedback(&self, id: &str, text: &str) -> Result<FeedbackAccepted, Error> {
        let request = FeedbackRequest { text: text.to_owned() };
        self.post(&["api", "v1", "tasks", id, "feedback"], &request).await
    }

    /// Orders something of running work.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn command(&self, request: &CommandRequest) -> Result<CommandAccepted, Error> {
        self.post(&["api", "v1", "commands"], request).await
    }

    /// Decides what a worker does about new work.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn set_duty(&self, worker: &str, duty: WorkerDuty) -> Result<WorkerView, Error> {
        let body = serde_json::json!({ "duty": duty });
        self.send(Method::PUT, &["api", "v1", "workers", worker, "duty"], &body).await
    }

    /// Whether it can do its work.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn ready(&self) -> Result<(), Error> {
        let _: serde_json::Value = self.get(&["ready"], &[]).await?;
        Ok(())
    }

    /// Invites a machine to become a worker.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn invite(&self, request: &InvitationRequest) -> Result<InvitationView, Error> {
        self.send(Method::POST, &["api", "v1", "invitations"], request).await
    }

    /// Shuts a worker out of the fleet.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn revoke(&self, worker: &str) -> Result<RevocationView, Error> {
        self.send(Method::POST, &["api", "v1", "workers", worker, "revoke"], &()).await
    }

    /// Why a task or work stream isn't running, or what it is doing.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn why(&self, id: &str) -> Result<WhyView, Error> {
        self.get(&["api", "v1", "tasks", id, "why"], &[]).await
    }

    /// Lines of a transcript after line `after`; waits up to `wait` for the first.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn logs(
        &self,
        id: &str,
        after: u64,
        limit: u32,
        wait: Duration,
    ) -> Result<LogPage, Error> {
        let (after, limit) = (after.to_string(), limit.to_string());
        let wait = wait.as_millis().to_string();
        let query = [
            ("after", Some(after.as_str())),
            ("limit", Some(limit.as_str())),
            ("wait_ms", Some(wait.as_str())),
        ];
        self.get(&["api", "v1", "tasks", id, "logs"], &query).await
    }

    /// A page of events after `after`.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn events(
        &self,
        after: Option<&str>,
        limit: u32,
        run: Option<&str>,
    ) -> Result<EventPage, Error> {
        let limit = limit.to_string();
        let query = [("after", after), ("run", run), ("limit", Some(limit.as_str()))];
        self.get(&["api", "v1", "events"], &query).await
    }

    /// Events as they happen: those after `after`, or from now on. When the stream breaks it ends
    /// with an error; the id of the last event says where to go on.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn watch(
        &self,
        after: Option<&str>,
        run: Option<&str>,
    ) -> Result<impl Stream<Item = Result<Watched, Error>> + Send + use<>, Error> {
        let url = self.url(&["api", "v1", "events"], &[("after", after), ("run", run)]);
        let request = self.http.get(url).header(header::ACCEPT, "text/event-stream");
        let response = self.check(request.send().await.map_err(|e| self.unreachable(e))?).await?;
        let bytes = response.bytes_stream();
        let client = self.clone();
        let entries = stream::unfold((bytes, Decoder::default(), false), {
            move |(mut bytes, mut decoder, ended)| {
                let client = client.clone();
                async move {
                    loop {
                        if ended {
                            return None;
                        }
                        if let Some(message) = decoder.next() {
                            match client.watched(&message) {
                                Ok(None) => continue,
                                Ok(Some(entry)) => {
                                    return Some((Ok(entry), (bytes, decoder, false)));
                                }
                                Err(error) => return Some((Err(error), (bytes, decoder, true))),
                            }
                        }
                        match bytes.next().await {
                            Some(Ok(chunk)) => decoder.push(&chunk),
                            Some(Err(_)) | None => {
                                let place = client.place.clone();
                                let broken = Error::BrokenOff { place };
                                return Some((Err(broken), (bytes, decoder, true)));
                            }
                        }
                    }
                }
            }
        });
        Ok(entries)
    }

    fn watched(&self, message: &sse::Message) -> Result<Option<Watched>, Error> {
        match message.event.as_str() {
            "reset" => Ok(Some(Watched::Reset)),
            _ if message.data.is_empty() => Ok(None),
            _ => Ok(Some(Watched::Event(self.decode(message.data.as_bytes())?))),
        }
    }

    /// What a goal in words means.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn goal(&self, text: &str) -> Result<GoalView, Error> {
        self.post(&["api", "v1", "goal"], &GoalRequest { text: text.to_owned() }).await
    }

    /// The workers.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn workers(&self) -> Result<Vec<WorkerView>, Error> {
        self.get(&["api", "v1", "workers"], &[]).await
    }

    /// Asks the coordinator's process to drain and end.
    ///
    /// # Errors
    /// See [`Self::health`].
    pub async fn shutdown(&self) -> Result<(), Error> {
        let request = self.http.request(Method::POST, self.url(&["api", "v1", "shutdown"], &[]));
        let sent = request.timeout(ANSWER_TIMEOUT).send().await;
        self.check(sent.map_err(|e| self.unreachable(e))?).await?;
        Ok(())
    }

    /// Each segment is one part of the path, whatever signs it has.
    fn url(&self, segments: &[&str], query: &[(&str, Option<&str>)]) -> Url {
        let mut url = self.base.clone();
        // Only a URL that can't be a base has no segments; `new` has refused those.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url
    }

    async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, Option<&str>)],
    ) -> Result<T, Error> {
        let request = self.http.get(self.url(segments, query));
        self.answer(request.timeout(ANSWER_TIMEOUT).send().await).await
    }

    async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &B,
    ) -> Result<T, Error> {
        self.send(Method::POST, segments, body).await
    }

    async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: &B,
    ) -> Result<T, Error> {
        let request = self.http.request(method, self.url(segments, &[])).json(body);
        self.answer(request.timeout(ANSWER_TIMEOUT).send().await).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        sent: Result<Response, reqwest::Error>,
    ) -> Result<T, Error> {
        let response = self.check(sent.map_err(|error| self.unreachable(error))?).await?;
        let bytes = response.bytes().await;
        let bytes = bytes.map_err(|_| Error::BrokenOff { place: self.place.clone() })?;
        self.decode(&bytes)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Error> {
        let decoded = match self.texts {
            Texts::Raw => serde_json::from_slice(bytes),
            Texts::Harmless => {
                serde_json::from_slice(bytes).and_then(|mut value: serde_json::Value| {
                    scrub(&mut value);
                    serde_json::from_value(value)
                })
            }
        };
        decoded.map_err(|source| Error::Garbled { place: self.place.clone(), source })
    }

    /// Turns a refusal into an error.
    async fn check(&self, response: Response) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let problem = self.decode(&body).unwrap_or_else(|_| unexplained(status));
        let problem = Problem { status: Some(status.as_u16()), ..problem };
        Err(Error::Refused(Box::new(problem)))
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        // The address is in our own message already.
        Error::Unreachable { place: self.place.clone(), source: source.without_url() }
    }
}

/// What is known of a failure that no problem object explains.
fn unexplained(status: StatusCode) -> Problem {
    let title = status.canonical_reason().unwrap_or("unknown status").to_owned();
    Problem {
        kind: "about:blank".to_owned(),
        detail: format!("the coordinator answers with {}: {title}", status.as_u16()),
        title,
        code: format!("http_{}", status.as_u16()),
        ..Problem::default()
    }
}

fn bad_address(url: &str, reason: &str) -> Error {
    Error::Address { url: url.to_owned(), reason: reason.to_owned() }
}

/// Whether nobody listens at all, as against somebody who fails.
#[must_use]
pub fn is_nobody_there(error: &Error) -> bool {
    match error {
        Error::Unreachable { source, .. } => {
            tracing::debug!(error = %Chain(source), "no coordinator answers");
            source.is_connect()
        }
        _ => false,
    }
}

/// Whether the connection to the coordinator is lost, or there is none.
#[must_use]
pub fn is_cut_off(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::BrokenOff { .. })
}

#[cfg(test)]
mod tests;
