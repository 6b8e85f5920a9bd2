//! Reads what a goal names by number: ids, lists and ranges of ids, batches, counts, agents.

use super::catalog::{Catalog, KeyPart, NameSpan, NaturalKey};
use super::command;
use super::lexicon;
use super::size::{self, Size};
use super::text::{Gap, Token};

/// What was named by number.
#[derive(Debug, Default, Clone)]
pub(super) struct References {
    /// The work streams named, once each, in the order they were named.
    pub(super) entries: Vec<usize>,
    /// How they were named, for the explanation: `id 1.2`, `batch 3`.
    pub(super) named: Vec<String>,
    /// What looks like an id or batch but is none.
    pub(super) unknown: Vec<String>,
    /// Names of single agents, as `coder-1.2-1764977334`.
    pub(super) agents: Vec<String>,
    /// One id that several work streams share.
    pub(super) shared_id: bool,
    /// Streams were named together: a batch, a range, all below a prefix.
    pub(super) grouped: bool,
    /// A number that another word claims: `python 3.2`.
    pub(super) doubtful: bool,
    /// "or" stands between two of them.
    pub(super) alternatives: bool,
    /// Only streams of this size are meant, and where that is said.
    pub(super) size: Option<(usize, Size)>,
    /// "run 21", where that is the id of one of these streams but for the point.
    pub(super) missing_point: Vec<usize>,
    /// How many streams are asked for.
    pub(super) count: Option<u64>,
    /// How many agents may work at once.
    pub(super) concurrency: Option<u64>,
    /// For each word of the goal: whether it was read here.
    pub(super) read: Vec<bool>,
    /// For each word of the goal: the entries named there.
    pub(super) at: Vec<(usize, Vec<usize>)>,
}

/// The word before a number that says what the number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    /// "phase", "task", "stream", "#".
    Kind,
    Batch,
}

/// One thing named by number.
#[derive(Debug, Clone)]
struct Named {
    entries: Vec<usize>,
    /// Its place in the natural order, for ranges.
    key: NaturalKey,
    scope: Scope,
    shown: String,
    /// One past its last word.
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Id,
    Below,
    Batch,
}

/// Reads all references in `tokens`.
pub(super) fn read(catalog: &Catalog, tokens: &[Token], spans: &[NameSpan]) -> References {
    let found = References { read: vec![false; tokens.len()], ..References::default() };
    let mut reader = Reader { catalog, tokens, spans, found };
    let mut marker = Marker::None;
    let mut at = 0;
    while at < tokens.len() {
        let used = reader.agent(at);
        if used > 0 {
            at += used;
            continue;
        }
        if let Some(found) = reader.marker(at) {
            marker = found;
            at += 1;
            continue;
        }
        match reader.named(at, marker) {
            Some(named) => at = reader.accept(at, named),
            None => {
                reader.unknown(at, marker);
                if !reader.continues_list(at) {
                    marker = Marker::None;
                }
                at += 1;
            }
        }
    }
    reader.size();
    reader.counts();
    reader.found
}

/// `r7a1`: an attempt, by its run and number.
fn is_attempt(word: &str) -> bool {
    let numbers = word.strip_prefix('r').and_then(|rest| rest.split_once('a'));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(run, attempt)| digits(run) && digits(attempt))
}

struct Reader<'a> {
    catalog: &'a Catalog,
    tokens: &'a [Token],
    spans: &'a [NameSpan],
    found: References,
}

impl Reader<'_> {
    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.word)
    }

    fn before(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |at| self.word(at))
    }

    fn in_name(&self, at: usize) -> bool {
        self.spans.iter().any(|span| span.start <= at && at < span.end && span.end - span.start > 1)
    }

    /// `claude-code-1.2-r7a1` or `coder-1.2-1764977334`: words, an id and an attempt in one.
    fn agent(&mut self, at: usize) -> usize {
        let glued = |at: usize| self.tokens.get(at).filter(|token| token.gap == Gap::Glue);
        let named = |at: usize| glued(at).is_some_and(|token| !token.is_number());
        if self.tokens[at].is_number() || self.as_marker(at).is_some() {
            return 0;
        }
        let id = (at + 1..).find(|at| !named(*at)).unwrap_or(at);
        let attempt = |token: &Token| token.is_number() || is_attempt(&token.word);
        if !glued(id).is_some_and(Token::is_number) || !glued(id + 1).is_some_and(attempt) {
            return 0;
        }
        let parts: Vec<&str> = (at..id + 2).map(|at| self.word(at)).collect();
        self.found.agents.push(parts.join("-"));
        self.found.read[at..id + 2].fill(true);
        id + 2 - at
    }

    fn as_marker(&self, at: usize) -> Option<Marker> {
        match self.word(at) {
            "batch" | "batches" | "group" => Some(Marker::Batch),
            "number" | "no" | "nr" | "id" | "ids" => Some(Marker::Kind),
            // "work three hours" names nothing.
            "one" | "ones" | "work" | "stuff" | "thing" | "things" | "bits" => None,
            word if lexicon::is_kind(word) => Some(Marker::Kind),
            _ => None,
        }
    }

    /// A marker counts only in front of what it marks.
    fn marker(&mut self, at: usize) -> Option<Marker> {
        let marker = self.as_marker(at)?;
        if self.in_name(at) {
            return None;
        }
        let next = at + 1;
        let chained = self.as_marker(next).is_some() && self.tokens.len() > next + 1;
        let target = if chained { next + 1 } else { next };
        let marks = self.tokens.get(target).is_some_and(|token| {
            token.is_number()
                || lexicon::number_word(&token.word).is_some()
                || self.id_at(target, Marker::Kind).is_some()
        });
        if !marks {
            return None;
        }
        self.found.read[at] = true;
        Some(marker)
    }

    fn named(&self, at: usize, marker: Marker) -> Option<Named> {
        let token = self.tokens.get(at)?;
        if self.in_name(at) {
            return None;
        }
        if let Some(named) = self.ordinal_batch(at) {
            return Some(named);
        }
        let number = token.integer().or_else(|| lexicon::number_word(&token.word));
        if marker == Marker::Batch && number.is_some() {
            return self.batch(at);
        }
        if let Some(named) = self.id_at(at, marker) {
            return Some(named);
        }
        if marker == Marker::Kind && number.is_some() && !token.is_number() {
            return self.below(at, &number?.to_string()).or_else(|| self.batch(at));
        }
        if !token.is_number() || self.belongs_to_word(at) {
            return None;
        }
        let prefix = token.word.strip_suffix(".x").or_else(|| token.word.strip_suffix(".*"));
        match (prefix, token.integer()) {
            (Some(prefix), _) => self.below(at, prefix),
            (None, Some(_)) if marker == Marker::Kind => {
                self.below(at, &token.word).or_else(|| self.batch(at))
            }
            (None, _) => None,
        }
    }

    /// "the second batch".
    fn ordinal_batch(&self, at: usize) -> Option<Named> {
        let number = lexicon::ordinal(self.word(at))?;
        if !matches!(self.word(at + 1), "batch" | "group") {
            return None;
        }
        let named = self.batch_numbered(number, at + 2)?;
        Some(Named { end: at + 2, ..named })
    }

    fn batch(&self, at: usize) -> Option<Named> {
        let token = self.tokens.get(at)?;
        let number = token.integer().or_else(|| lexicon::number_word(&token.word))?;
        self.batch_numbered(number, at + 1).or_else(|| self.below(at, &number.to_string()))
    }

    fn batch_numbered(&self, number: u64, end: usize) -> Option<Named> {
        let batches = self.catalog.batches.iter().filter(|batch| batch.number == Some(number));
        let entries: Vec<usize> = batches.flat_map(|batch| batch.entries.clone()).collect();
        let key = NaturalKey(vec![KeyPart::Number(number)]);
        let shown = format!("batch {number}");
        (!entries.is_empty()).then_some(Named { entries, key, scope: Scope::Batch, shown, end })
    }

    fn below(&self, at: usize, prefix: &str) -> Option<Named> {
        let key = NaturalKey::of(prefix);
        let entries = self.catalog.below(&key);
        let shown = format!("ids below {prefix}");
        let (scope, end) = (Scope::Below, at + 1);
        (!entries.is_empty()).then_some(Named { entries, key, scope, shown, end })
    }

    /// The longest run of words at `at` that is an id.
    fn id_at(&self, at: usize, marker: Marker) -> Option<Named> {
        let words_max = self.catalog.id_words_max.min(self.tokens.len().saturating_sub(at));
        (1..=words_max).rev().find_map(|length| {
            let run = &self.tokens[at..at + length];
            let words: Vec<&str> = run.iter().map(|token| token.word.as_str()).collect();
            let entries = self.catalog.with_id(&words);
            if entries.is_empty() || !self.may_be_id(at, length, marker) {
                return None;
            }
            let first = &self.catalog.entries[*entries.first()?];
            Some(Named {
                entries: entries.to_vec(),
                key: first.key.clone(),
                scope: Scope::Id,
                shown: format!("id {}", first.subject.id),
                end: at + length,
            })
        })
    }

    /// Ids may look like common words or plain numbers; then something must say that one is meant.
    fn may_be_id(&self, at: usize, length: usize, marker: Marker) -> bool {
        let run = &self.tokens[at..at + length];
        let joined = run[1..].iter().all(|token| token.gap.glues() || token.gap == Gap::Space);
        let has_digit = run.iter().any(|token| token.word.contains(|c: char| c.is_ascii_digit()));
        let marked = marker == Marker::Kind || run[0].quoted || self.tokens.len() == length;
        if !joined || (length == 1 && self.belongs_to_word(at)) {
            return false;
        }
        if length == 1 && run[0].integer().is_some() {
            return marked || !self.counts_something(at);
        }
        let word = &run[0].word;
        let common = lexicon::is_weightless(word) || command::is_command_word(word);
        marked || has_digit || (length == 1 && !common && word.chars().count() > 2)
    }

    /// `python-3.2`: the number is part of another name.
    fn belongs_to_word(&self, at: usize) -> bool {
        let glued = self.tokens[at].gap.glues();
        glued && at > 0 && !self.tokens[at - 1].is_number() && self.as_marker(at - 1).is_none()
    }

    fn counts_something(&self, at: usize) -> bool {
        let next = self.word(at + 1);
        matches!(self.before(at), "next" | "first" | "top" | "any" | "other" | "another")
            || matches!(next, "agents" | "workers" | "at" | "in" | "of" | "from" | "more")
            || (lexicon::is_kind(next) && next.ends_with('s'))
    }

    /// Takes what was named at `at` together with the end of its range; gives where to go on.
    fn accept(&mut self, at: usize, first: Named) -> usize {
        self.note_doubt(at);
        self.found.alternatives |= self.before(at) == "or" && !self.found.entries.is_empty();
        let Some((last, end)) = self.range_end(&first) else {
            let after = self.word(first.end);
            let open = matches!(after, "onward" | "onwards")
                || (self.before(at) == "from" && matches!(after, "on" | "forward" | "up"));
            if open && first.scope == Scope::Id {
                let entries = self.catalog.select(|entry| entry.key >= first.key);
                let shown = format!("{} and after", first.shown);
                return self.take(at, Named { entries, shown, end: first.end + 1, ..first });
            }
            self.found.shared_id |= first.scope == Scope::Id && first.entries.len() > 1;
            return self.take(at, first);
        };
        let (low, high) =
            if first.key <= last { (first.key.clone(), last) } else { (last, first.key.clone()) };
        let entries = match first.scope {
            Scope::Id => self.catalog.select(|entry| {
                entry.key.0.len() == low.0.len() && low <= entry.key && entry.key <= high
            }),
            Scope::Below => self.catalog.select(|entry| {
                entry.key.0.len() > 1
                    && low.0.first() <= entry.key.0.first()
                    && entry.key.0.first() <= high.0.first()
            }),
            Scope::Batch => self.catalog.select(|entry| {
                let number = entry.batch.and_then(|batch| self.catalog.batches[batch].number);
                let key = number.map(|number| NaturalKey(vec![KeyPart::Number(number)]));
                key.is_some_and(|key| low <= key && key <= high)
            }),
        };
        let words: Vec<&str> = self.tokens[at..end].iter().map(|t| t.word.as_str()).collect();
        let kind = if first.scope == Scope::Batch { "batches" } else { "ids" };
        let shown = format!("{kind} {}", words.join(" "));
        self.take(at, Named { entries, shown, end, ..first })
    }

    fn take(&mut self, at: usize, named: Named) -> usize {
        self.found.read[at..named.end].fill(true);
        for &entry in &named.entries {
            if !self.found.entries.contains(&entry) {
                self.found.entries.push(entry);
            }
        }
        self.found.grouped |= named.entries.len() > 1;
        self.found.named.push(named.shown);
        self.found.at.push((at, named.entries));
        named.end
    }

    /// The far end of a range that begins with `first`, and one past its last word.
    fn range_end(&self, first: &Named) -> Option<(NaturalKey, usize)> {
        let connector = self.tokens.get(first.end)?;
        let numbers = connector.is_number() || connector.word.contains(char::is_numeric);
        let mut at = match connector.word.as_str() {
            "to" | "through" | "thru" => first.end + 1,
            "up" if self.word(first.end + 1) == "to" => first.end + 2,
            _ if connector.gap == Gap::Dash => first.end,
            _ if connector.gap == Gap::Glue && numbers => first.end,
            _ => return None,
        };
        if self.as_marker(at).is_some() {
            at += 1;
        }
        let token = self.tokens.get(at)?;
        let last = NaturalKey::of(&token.word);
        if first.scope != Scope::Id {
            return token.integer().map(|_| (last, at + 1));
        }
        if let Some(named) = self.id_at(at, Marker::Kind)
            && named.key.0.len() == first.key.0.len()
        {
            return Some((named.key, named.end));
        }
        if !token.is_number() {
            return None;
        }
        // "2.1-3" is 2.1 to 2.3.
        let short = last.0.len() == 1 && first.key.0.len() > 1;
        let mut key = if short { first.key.clone() } else { last.clone() };
        if short {
            key.0.pop();
            key.0.extend(last.0);
        }
        (key.0.len() == first.key.0.len()).then_some((key, at + 1))
    }

    fn note_doubt(&mut self, at: usize) {
        let Some(before) = at.checked_sub(1) else { return };
        let token = &self.tokens[before];
        let close = matches!(self.tokens[at].gap, Gap::Space | Gap::Glue);
        let stranger = !token.is_number()
            && !lexicon::is_weightless(&token.word)
            && !command::is_command_word(&token.word)
            && !self.found.read[before]
            && self.catalog.vocabulary.resolve(token).terms.is_empty();
        self.found.doubtful |= close && stranger && self.tokens[at].is_number();
    }

    /// Notes a number that has the form of an id but names nothing.
    fn unknown(&mut self, at: usize, marker: Marker) {
        let token = &self.tokens[at];
        let dotted = token.is_number() && token.word.contains('.');
        if self.in_name(at) || self.belongs_to_word(at) || !token.is_number() {
            return;
        }
        let alone = self.tokens.len() == 1;
        if dotted || ((alone || marker != Marker::None) && token.integer().is_some()) {
            let kind = if marker == Marker::Batch { "batch " } else { "" };
            self.found.unknown.push(format!("{kind}{}", token.word));
            self.found.read[at] = true;
        }
    }

    fn continues_list(&self, at: usize) -> bool {
        matches!(self.word(at), "and" | "or" | "plus" | "to" | "through")
    }

    fn size(&mut self) {
        for at in 0..self.tokens.len() {
            if self.found.read[at] || self.in_name(at) {
                continue;
            }
            if let Some((size, words)) = size::read(self.tokens, at) {
                self.found.read[words].fill(true);
                self.found.size = Some((at, size));
                return;
            }
        }
    }

    fn counts(&mut self) {
        for at in 0..self.tokens.len() {
            if self.found.read[at] || self.in_name(at) {
                continue;
            }
            let word = self.word(at);
            let value = match word {
                "couple" | "pair" | "both" => Some(2),
                "few" => Some(3),
                _ => self.tokens[at].integer().or_else(|| lexicon::number_word(word)),
            };
            if let Some(value) = value {
                self.count(at, value);
            }
        }
    }

    fn count(&mut self, at: usize, value: u64) {
        // "two small ones" counts the ones.
        let sized = self.found.size.as_ref().is_some_and(|(of, _)| *of == at + 1);
        let next = self.word(if sized { at + 2 } else { at + 1 });
        let before = self.before(at);
        let top = before == "top";
        let after_of = if next == "of" { self.word(at + 2) } else { next };
        let workers = matches!(next, "agents" | "workers" | "agent" | "worker" | "slots");
        let at_once = next == "at" && matches!(self.word(at + 2), "a" | "once");
        let limited = workers && matches!(before, "with" | "using" | "by" | "max" | "to" | "on");
        let last = at + 1 == self.tokens.len();
        let noun = lexicon::is_kind(after_of) || matches!(after_of, "more" | "them" | "those");
        // "one thing" and "do one" ask for the next; "the one" and "this one" count nothing.
        let counted = self.tokens[at].word != "one" || lexicon::is_kind(next);
        if limited || at_once || matches!(before, "max" | "n" | "concurrency") {
            self.found.concurrency = Some(value);
        } else if counted && (workers || noun || self.counts_something(at))
            || (last && lexicon::is_doing(before) && counted)
            || matches!(self.word(at), "couple" | "few" | "both")
        {
            if last && lexicon::is_doing(before) {
                self.found.missing_point = self.catalog.without_point(self.word(at));
            }
            self.found.count = Some(value);
        } else {
            return;
        }
        self.found.read[at] = true;
        if top {
            self.found.read[at - 1] = true;
        }
        let mut following = at + 1;
        while at_once && following < self.tokens.len() && following < at + 4 {
            let part = matches!(self.word(following), "at" | "a" | "time" | "once");
            self.found.read[following] |= part;
            following += 1;
        }
        if workers {
            self.found.read[at + 1] = true;
        }
    }
}
