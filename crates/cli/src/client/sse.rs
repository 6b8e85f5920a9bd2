//! Server-sent events, decoded from bytes in whatever pieces they arrive.

use std::collections::VecDeque;

/// A line longer than this (16 MiB) is cut: no event of ours is so long.
const LINE_MAX: usize = 16 * 1024 * 1024;

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// The `event` field; empty for an ordinary message.
    pub(super) event: String,
    /// The `data` fields, joined by line ends.
    pub(super) data: String,
}

/// Takes bytes and gives messages.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    after_return: bool,
    event: String,
    data: Option<String>,
    ready: VecDeque<Message>,
}

impl Decoder {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => self.end_line(),
                _ if self.line.len() < LINE_MAX => self.line.push(byte),
                _ => {}
            }
            self.after_return = byte == b'\r';
        }
    }

    /// The next complete message.
    pub(super) fn next(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            self.end_message();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments are heartbeats; `id` is in the data too; `retry` is ours to decide.
            _ => {}
        }
    }

    fn end_message(&mut self) {
        let event = std::mem::take(&mut self.event);
        if let Some(data) = self.data.take() {
            self.ready.push_back(Message { event, data });
        } else if !event.is_empty() {
            self.ready.push_back(Message { event, data: String::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> Vec<Message> {
        let mut decoder = Decoder::default();
        for piece in pieces {
            decoder.push(piece);
        }
        std::iter::from_fn(|| decoder.next()).collect()
    }

    fn message(event: &str, data: &str) -> Message {
        Message { event: event.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str = ": hello\n\nretry: 1000\n\nid: 1.7\ndata: {\"a\":1}\n\n\
                          event: reset\ndata:\n\nevent: reset\n\ndata: é\r\ndata: two\r\n\r\n";

    #[test]
    fn fields_comments_and_line_ends_are_understood() {
        let expected = [
            message("", "{\"a\":1}"),
            message("reset", ""),
            message("reset", ""),
            message("", "é\ntwo"),
        ];
        assert_eq!(decode(&[STREAM.as_bytes()]), expected);
    }

    #[test]
    fn an_unfinished_message_is_not_given_out() {
        assert_eq!(decode(&[b"data: half"]), []);
        assert_eq!(decode(&[b"data: half\n"]), []);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_stream_is_cut(cut in 0..STREAM.len(), second in 0..STREAM.len()) {
            let (low, high) = (cut.min(second), cut.max(second));
            let bytes = STREAM.as_bytes();
            let pieces = [&bytes[..low], &bytes[low..high], &bytes[high..]];
            prop_assert_eq!(decode(&pieces), decode(&[bytes]));
        }
    }
}
