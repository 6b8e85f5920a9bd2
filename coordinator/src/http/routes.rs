//! The routes, each with what documents it. They call the service and word its answers.

mod commands;
mod events;
mod process;
mod project;
mod runs;
mod tasks;

use axum::http::{Method, StatusCode, Uri};
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::problem::{MEDIA_TYPE, Problem, Trouble};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Kapelle",
        description = "Runs fleets of coding agents over the work streams of a roadmap. \
            The id of a task holds a slash: write it as `%2F` in paths.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    servers((url = "/")),
    components(schemas(Problem))
)]
struct Document;

/// The routes and their document, made of the same annotations.
pub(super) fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(process::health))
        .routes(routes!(process::ready))
        .routes(routes!(process::openapi))
        .routes(routes!(process::shut_down))
        .routes(routes!(project::show_status))
        .routes(routes!(project::show_roadmap))
        .routes(routes!(project::list_workers))
        .routes(routes!(project::understand_goal))
        .routes(routes!(project::stop))
        .routes(routes!(runs::list_runs, runs::submit_run))
        .routes(routes!(runs::show_run))
        .routes(routes!(runs::resume_run))
        .routes(routes!(runs::report_run))
        .routes(routes!(tasks::show_task))
        .routes(routes!(tasks::list_attempts))
        .routes(routes!(tasks::list_commands))
        .routes(routes!(tasks::give_feedback))
        .routes(routes!(commands::give_command))
        .routes(routes!(commands::set_duty))
        .routes(routes!(commands::invite))
        .routes(routes!(commands::revoke))
        .routes(routes!(tasks::explain_task))
        .routes(routes!(tasks::read_logs))
        .routes(routes!(events::read_events))
}

/// The document as indented JSON.
pub(super) fn document() -> String {
    let mut document = documented().into_openapi();
    Common.modify(&mut document);
    // Maps and lists of strings always have a JSON form.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Adds what is the same for all routes: how to authenticate, and what an error looks like.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", bearer);
        let schema = Ref::from_schema_name("Problem");
        let problem = ResponseBuilder::new()
            .description("Why the request failed")
            .content(MEDIA_TYPE, Content::new(Some(schema)))
            .build();
        components.responses.insert("Problem".to_owned(), problem.into());
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                let problem = RefOr::Ref(Ref::from_response_name("Problem"));
                operation.responses.responses.insert("default".to_owned(), problem);
                if path.starts_with("/api/") {
                    let token = SecurityRequirement::new::<_, [&str; 0], &str>("token", []);
                    operation.security = Some(vec![token]);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put].into_iter().flatten()
}

/// For paths that no route has.
pub(super) async fn no_such_path(uri: Uri) -> Trouble {
    let detail = format!("there is nothing at {}", uri.path());
    Trouble::new(StatusCode::NOT_FOUND, "unknown_path", detail)
        .hint("/api/openapi.json lists what there is")
}

/// For methods that a path doesn't take; the framework adds `Allow`.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Trouble {
    let detail = format!("{} doesn't take {method}", uri.path());
    Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail)
        .hint("/api/openapi.json lists what there is")
}

/// How many items a page may have, and has when nothing is said.
#[derive(Clone, Copy)]
struct PageSize {
    most: u32,
    usual: u32,
}

impl PageSize {
    fn of(self, limit: Option<u32>) -> Result<u32, Trouble> {
        match limit.unwrap_or(self.usual) {
            limit if (1..=self.most).contains(&limit) => Ok(limit),
            limit => {
                let detail = format!("limit is {limit}; it must be from 1 to {}", self.most);
                Err(Trouble::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_limit", detail))
            }
        }
    }
}
