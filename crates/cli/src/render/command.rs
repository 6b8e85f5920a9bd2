//! What became of a command.

use std::fmt::Write as _;

use crate::output::{Canvas, Show, Tone};
use crate::view::{CommandAccepted, ReceiptView};

impl Show for CommandAccepted {
    fn text(&self, canvas: &Canvas) -> String {
        let mut text = String::new();
        for receipt in &self.receipts {
            let tone = match receipt.state.as_str() {
                "applied" | "carried" => Tone::Good,
                "rejected" | "expired" => Tone::Bad,
                _ => Tone::Live,
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}  {}  {}",
                receipt.task,
                canvas.paint(tone, &receipt.state),
                in_words(receipt)
            );
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.receipts.iter().map(|receipt| receipt.task.clone()).collect()
    }
}

fn in_words(receipt: &ReceiptView) -> String {
    if let Some(reason) = &receipt.reason {
        return reason.clone();
    }
    match (receipt.state.as_str(), receipt.attempt) {
        ("accepted", Some(attempt)) => {
            format!("the worker of try {attempt} has not taken it yet")
        }
        ("accepted", None) => "nobody has it yet".to_owned(),
        ("delivered", Some(attempt)) => {
            format!("the worker of try {attempt} has it; it had no effect yet")
        }
        ("applied", Some(attempt)) => format!("in try {attempt}"),
        ("carried", Some(attempt)) => format!("try {attempt} is told when it starts"),
        _ => String::new(),
    }
}
