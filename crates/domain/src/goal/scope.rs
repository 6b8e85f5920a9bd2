//! Finds the parts of a goal that say what not to do and under which condition, and sets them
//! apart, so that nothing in them can be taken for something to run.

use super::catalog::NameSpan;
use super::lexicon;
use super::text::{Gap, Token};

/// A goal cut by what its parts are for.
#[derive(Debug, Default, Clone)]
pub(super) struct Scopes {
    /// What is asked for.
    pub(super) main: Vec<Token>,
    /// What must not happen, one list per "not", "except", "skip" and so on.
    pub(super) excluded: Vec<Vec<Token>>,
    /// What it depends on ("after …", "if …", "until …"): noticed, never acted on.
    pub(super) conditions: Vec<Vec<Token>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Main,
    Excluded,
    Condition,
}

/// Cuts `tokens`. Words inside `spans` (names of streams) never open a part.
pub(super) fn split(tokens: &[Token], spans: &[NameSpan]) -> Scopes {
    let scopes = Scopes::default();
    let mut cutter = Cutter {
        tokens,
        spans,
        scopes,
        part: Part::Main,
        last_of_main: None,
        ordered_exclusion: false,
    };
    let mut at = 0;
    while at < tokens.len() {
        at += cutter.take(at).max(1);
    }
    let mut scopes = cutter.scopes;
    for tail in &mut scopes.excluded {
        tail.retain(|token| !is_leaving_tail(&token.word));
    }
    scopes
}

struct Cutter<'a> {
    tokens: &'a [Token],
    spans: &'a [NameSpan],
    scopes: Scopes,
    part: Part,
    last_of_main: Option<usize>,
    /// The exclusion is an order by itself ("skip 2.1"), so that "and do" begins the next one.
    ordered_exclusion: bool,
}

impl Cutter<'_> {
    /// Puts the word at `at` where it belongs; gives how many words were used up.
    fn take(&mut self, at: usize) -> usize {
        if self.part != Part::Main && self.ends_part(at) {
            self.part = Part::Main;
        }
        // What is ruled out in quotation marks is ruled out all the same: `"all except 2.1"`.
        let quoted = self.tokens[at].quoted && self.negation(at).is_none();
        let free = !self.named(at) && !self.glued(at) && !quoted;
        if free {
            if let Some(used) = self.open_part(at) {
                return used;
            }
            if matches!(self.word(at), "but" | "instead" | "though" | "however") {
                self.part = Part::Main;
                return 1;
            }
        }
        self.push(at);
        1
    }

    fn open_part(&mut self, at: usize) -> Option<usize> {
        if let Some(used) = self.state_negation(at) {
            return Some(used);
        }
        if self.word(at) == "nothing" && matches!(self.word(at + 1), "else" | "more") {
            return Some(2);
        }
        // "until there is nothing left" is one condition, not an exclusion inside one.
        let absent = matches!(self.word(at), "nothing" | "none" | "no" | "never");
        if !(self.part == Part::Condition && absent)
            && let Some(used) = self.negation(at)
        {
            self.part = Part::Excluded;
            self.ordered_exclusion = is_excluding_verb(self.word(at));
            // "but skip" and "and nothing except" are one exclusion.
            if self.scopes.excluded.last().is_none_or(|last| !last.is_empty()) {
                self.scopes.excluded.push(Vec::new());
            }
            return Some(used);
        }
        if self.part != Part::Excluded
            && let Some(used) = self.opens_condition(at)
        {
            self.part = Part::Condition;
            self.scopes.conditions.push(Vec::new());
            return Some(used);
        }
        None
    }

    fn push(&mut self, at: usize) {
        let mut token = self.tokens[at].clone();
        let cut_out = match self.part {
            Part::Main => {
                let before = self.last_of_main.replace(at);
                before.is_some_and(|before| before + 1 != at)
            }
            Part::Excluded | Part::Condition => false,
        };
        let target = match self.part {
            Part::Main => Some(&mut self.scopes.main),
            Part::Excluded => self.scopes.excluded.last_mut(),
            Part::Condition => self.scopes.conditions.last_mut(),
        };
        let Some(target) = target else { return };
        if target.is_empty() {
            token.gap = Gap::Start;
        } else if cut_out {
            // What was cut out stood between these two: they are no longer neighbors.
            token.gap = Gap::Sentence;
        }
        target.push(token);
    }

    /// How many words open an exclusion at `at`.
    fn negation(&self, at: usize) -> Option<usize> {
        let previous = at.checked_sub(1).map_or("", |before| self.word(before));
        let next = self.word(at + 1);
        match self.word(at) {
            "not" if next == "only" => None,
            "not" | "never" | "except" | "excepting" | "without" | "nothing" | "none"
            | "neither" | "nor" | "excluding" | "besides" => Some(1),
            "no" => {
                let answer = self
                    .tokens
                    .get(at + 1)
                    .is_none_or(|token| matches!(token.gap, Gap::Comma | Gap::Sentence));
                (!answer).then_some(1)
            }
            "but" => {
                let everything = matches!(
                    previous,
                    "all" | "everything" | "anything" | "any" | "something" | "whatever" | "rest"
                );
                (everything && next != "not").then_some(1)
            }
            "apart" | "aside" if next == "from" => Some(2),
            "other" | "rather" if next == "than" => Some(2),
            "instead" if next == "of" => Some(2),
            "hold" if next == "off" => Some(2),
            word if is_excluding_verb(word) => {
                let noun =
                    matches!(previous, "a" | "an" | "the" | "of") || lexicon::is_making(previous);
                (!noun).then_some(1)
            }
            _ => None,
        }
    }

    /// "not started" describes work that is still to do and excludes nothing.
    fn state_negation(&mut self, at: usize) -> Option<usize> {
        if self.word(at) != "not" {
            return None;
        }
        let before = at.checked_sub(1).map_or("", |before| self.word(before));
        let auxiliary =
            lexicon::is_asking(before) || matches!(before, "can" | "could" | "would" | "will");
        let start = self.clause_start(at);
        if auxiliary && start < at && lexicon::is_asking(self.word(start)) {
            // "why isn't 3.1 running" excludes nothing.
            self.last_of_main = self.last_of_main.map(|_| at);
            return Some(1);
        }
        let skip = if self.word(at + 1) == "yet" { 2 } else { 1 };
        // "not blocked by 2.1" says what to leave out.
        let related = matches!(self.word(at + skip + 1), "by" | "for" | "on");
        if !lexicon::is_state(self.word(at + skip)) || related {
            return None;
        }
        let asks = lexicon::is_asking(self.word(self.clause_start(at)));
        let dropped = if asks { skip } else { skip + 1 };
        if self.part == Part::Main && self.last_of_main.is_some() {
            self.last_of_main = Some(at + dropped - 1);
        }
        Some(dropped)
    }

    /// How many words open a condition at `at`.
    fn opens_condition(&self, at: usize) -> Option<usize> {
        match self.word(at) {
            "when" => (self.clause_start(at) != at).then_some(1),
            "after" | "once" | "whenever" | "until" | "till" | "before" | "unless" | "if"
            | "because" | "since" | "while" | "during" | "provided" | "assuming" => Some(1),
            "as" if self.word(at + 2) == "as" => {
                matches!(self.word(at + 1), "soon" | "long").then_some(3)
            }
            _ => None,
        }
    }

    fn ends_part(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        let scope = match self.part {
            Part::Main => return false,
            Part::Excluded => self.scopes.excluded.last(),
            Part::Condition => self.scopes.conditions.last(),
        };
        let scope = scope.map_or(&[][..], Vec::as_slice);
        let content = |token: &Token| match self.part {
            // "if possible start …" is over before "start".
            Part::Condition => !lexicon::is_grammar(&token.word),
            Part::Main | Part::Excluded => !lexicon::is_weightless(&token.word),
        };
        let has_content = scope.iter().any(content);
        let order =
            |at: usize| !self.named(at) && lexicon::is_doing(self.word(at)) && !self.glued(at);
        match token.gap {
            Gap::Sentence => return true,
            Gap::Comma if self.part == Part::Condition => return true,
            Gap::Comma => {
                let next = (at..self.tokens.len()).find(|&next| {
                    !lexicon::is_filler(self.word(next)) && !lexicon::is_grammar(self.word(next))
                        || order(next)
                });
                if next.is_some_and(order) {
                    return true;
                }
            }
            Gap::Start | Gap::Space | Gap::Glue | Gap::Slash | Gap::Dash | Gap::Join => {}
        }
        let before = at.checked_sub(1).map_or("", |before| self.word(before));
        let listed =
            matches!(before, "or" | "nor" | "to") || (before == "and" && !self.ordered_exclusion);
        (token.word == "then" && has_content)
            || (order(at) && token.word != "work" && has_content && !listed)
    }

    fn clause_start(&self, at: usize) -> usize {
        let ends = |index: &usize| {
            matches!(self.tokens[*index].gap, Gap::Start | Gap::Sentence | Gap::Comma)
        };
        let start = (0..=at).rev().find(ends).unwrap_or(0);
        (start..=at).find(|&index| !lexicon::is_filler(self.word(index))).unwrap_or(at)
    }

    fn named(&self, at: usize) -> bool {
        self.spans.iter().any(|span| span.start <= at && at < span.end)
    }

    /// Part of a term such as `no-op`.
    fn glued(&self, at: usize) -> bool {
        let follows = self.tokens.get(at + 1).is_some_and(|next| next.gap.glues());
        self.tokens[at].gap.glues() || follows
    }

    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.word)
    }
}

fn is_excluding_verb(word: &str) -> bool {
    matches!(
        word,
        "skip"
            | "skipping"
            | "ignore"
            | "ignoring"
            | "avoid"
            | "avoiding"
            | "exclude"
            | "excluded"
            | "forget"
            | "leave"
            | "leaving"
            | "minus"
            | "omit"
            | "omitting"
    )
}

/// "leave it alone", "leave it for later": how an exclusion ends.
fn is_leaving_tail(word: &str) -> bool {
    matches!(word, "alone" | "later" | "aside" | "behind" | "untouched" | "excluded" | "please")
}
