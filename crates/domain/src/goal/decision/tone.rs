//! Whether words around work streams are an order to run just these: questions, statements and
//! talk about them are none.

use super::super::Action;
use super::super::command::Intent;
use super::super::draft::{Draft, Picks, list};
use super::super::lexicon;
use super::super::phrase::Phrase;
use super::super::selection::Selection;
use super::super::text::{Gap, Token};
use super::Context;

/// Where to go on with what was interrupted.
const RESUME: &str = "`kapelle resume` goes on with a run that was interrupted";

/// Lowers the confidence where no plain order was given.
pub(super) fn weigh(context: &Context<'_>, selection: &Selection, draft: &mut Draft<'_>) {
    let head = head(context, &draft.picks);
    if let Some(word) = head.filter(|_| context.main.tokens.len() > 1) {
        if lexicon::is_contrary(word) {
            draft.confidence = draft.confidence.min(0.4);
            draft.say(format!("\"{word}\" does not ask to run anything."));
        } else if lexicon::is_upkeep(word) && !selection.picks.is_empty() {
            draft.confidence = draft.confidence.min(0.6);
            draft.say(format!("\"{word}\" may ask for something else than to work on it."));
        }
    }
    if !selection.picks.is_empty() && states(context) {
        draft.confidence = draft.confidence.min(0.45);
        draft.say("It states something rather than asks for it.");
    }
    weigh_question(context, selection, head, draft);
    weigh_order(context, selection, draft);
    if !selection.picks.is_empty() {
        weigh_rest(context, selection, draft);
    }
}

fn weigh_question(
    context: &Context<'_>,
    selection: &Selection,
    head: Option<&str>,
    draft: &mut Draft<'_>,
) {
    let next = context.command(Intent::Next).is_some_and(|next| next.question)
        && selection.picks.is_empty();
    let asked = (context.main.asks() && !next) || head.is_some_and(lexicon::is_inquiry);
    if asked && draft.action != Action::Suggest {
        draft.confidence = draft.confidence.min(0.55);
        draft.readings.push((Action::Status, selection.picks.clone()));
        draft.readings.push((draft.action, draft.picks.clone()));
        draft.action = Action::Suggest;
        draft.say("It reads like a question, so nothing is started.");
    }
}

/// "2.1 then 2.2": the order holds where the roadmap has it, and only there.
fn weigh_order(context: &Context<'_>, selection: &Selection, draft: &mut Draft<'_>) {
    let sequence = context.main.tokens.iter().any(|token| token.word == "then");
    if !sequence || draft.action != Action::RunParallel {
        return;
    }
    let given = selection.picks.windows(2).all(|pair| {
        let [(first, _), (second, _)] = pair else { return true };
        context.catalog.needs_other(*second, *first)
    });
    if !given {
        draft.confidence = draft.confidence.min(0.75);
        draft.say("The order is kept only where the roadmap has it as a dependency.");
    }
}

/// What else was said besides the streams, and would be passed over.
fn weigh_rest(context: &Context<'_>, selection: &Selection, draft: &mut Draft<'_>) {
    if asks_for_all_too(context, selection) {
        draft.confidence = draft.confidence.min(0.6);
        draft.say("It also asks for everything: say one at a time.");
    }
    if let Some(resume) = context.command(Intent::Resume) {
        let word = resume.words.first().map(|&at| context.main.tokens[at].word.as_str());
        if word == Some("resume") {
            draft.confidence = draft.confidence.min(0.75);
            draft.say(format!("{RESUME}; this starts anew."));
        }
    }
    let passed_over = context.main.tokens.iter().enumerate().find(|(at, token)| {
        matches!(token.word.as_str(), "small" | "big" | "large" | "tiny" | "huge")
            && !context.main.references.read[*at]
            && !context.catalog.vocabulary.knows(token)
    });
    if let Some((_, token)) = passed_over.filter(|_| draft.picks.len() > 1) {
        draft.confidence = draft.confidence.min(0.6);
        draft.say(format!("\"{}\" was not taken into account.", token.word));
    }
}

/// "2.1 and then everything" is more than 2.1.
fn asks_for_all_too(context: &Context<'_>, selection: &Selection) -> bool {
    let main = &context.main;
    let Some(all) = context.command(Intent::All) else { return false };
    let Some(&first) = all.words.first() else { return false };
    let joint = |at: usize| {
        let token = &main.tokens[at];
        matches!(token.gap, Gap::Comma | Gap::Join | Gap::Sentence)
            || matches!(token.word.as_str(), "and" | "then" | "plus" | "also")
    };
    let apart = |at: usize| {
        let (low, high) = (at.min(first), at.max(first));
        (low + 1..=high).any(joint)
    };
    !selection.grouped && main.references.at.iter().any(|(at, _)| apart(*at))
}

/// Whether the goal asks to go on with what was begun, and for nothing else besides.
pub(super) fn resumes(context: &Context<'_>) -> bool {
    let Some(resume) = context.command(Intent::Resume) else { return false };
    let last = resume.words.last().copied().unwrap_or_default();
    // "keep going, do it all" asks for more in a second breath.
    let breath =
        |token: &Token| matches!(token.gap, Gap::Comma | Gap::Sentence) || token.word == "and";
    let tokens = &context.main.tokens;
    !context.main.commands.iter().any(|other| {
        let first = other.words.first().copied().unwrap_or_default();
        first > last && tokens[last + 1..=first].iter().any(breath)
    })
}

pub(super) fn point_to_resume(draft: &mut Draft<'_>) {
    draft.confidence = 0.6;
    draft.say(format!("{RESUME}. To start the next work stream, say \"next\"."));
}

/// An adjective that says which of all are meant, but not by anything that is known of them.
pub(super) fn weigh_restriction(context: &Context<'_>, draft: &mut Draft<'_>) {
    let main = &context.main;
    let used = |at: usize| {
        main.references.read[at] || main.commands.iter().any(|known| known.words.contains(&at))
    };
    let restricts = |at: &usize| {
        let next = main.tokens.get(at + 1).map_or("", |token| token.word.as_str());
        let word = main.tokens[*at].word.as_str();
        let state = lexicon::is_state(word) && !matches!(word, "available" | "ready" | "unblocked");
        !used(*at) && (state || lexicon::is_quality(word)) && lexicon::is_kind(next)
    };
    if let Some(at) = (0..main.tokens.len()).find(restricts) {
        draft.confidence = draft.confidence.min(0.45);
        draft.say(format!("Which are \"{}\" is not known.", main.tokens[at].word));
    }
}

/// "everything that needs 2.1" and "what is independent of 2.1" mean other streams than they name.
/// They are suggested, not started.
pub(super) fn by_relation(
    context: &Context<'_>,
    selection: &Selection,
    draft: &mut Draft<'_>,
) -> bool {
    let Some(at) = relation(&context.main) else { return false };
    let word = context.main.tokens[at].word.as_str();
    let named: Vec<usize> = selection.picks.iter().map(|(entry, _)| *entry).collect();
    let dependents = context.catalog.dependents(&named);
    let without = matches!(word, "independent" | "unrelated");
    let open = |entry: &usize| {
        let subject = &context.catalog.entries[*entry].subject;
        !subject.complete && !context.excluded.contains(entry)
    };
    let related = context.catalog.order.iter().copied().filter(open);
    let related: Vec<usize> =
        related.filter(|entry| dependents.binary_search(entry).is_ok() != without).collect();
    let names = list(context.catalog, named.into_iter());
    let verb = if without { "does not need" } else { "needs" };
    let found = list(context.catalog, related.iter().copied());
    let found = if found.is_empty() { "nothing".to_owned() } else { found };
    draft.say(format!("What {verb} {names}: {found}. Give the ids of those that are to run."));
    draft.confidence = 0.45;
    draft.picks = related.into_iter().map(|entry| (entry, 0.4)).collect();
    true
}

/// Where a word says how the streams that are meant stand to those that are named behind it.
pub(super) fn relation(main: &Phrase) -> Option<usize> {
    let word = |at: usize| main.tokens.get(at).map_or("", |token| token.word.as_str());
    (0..main.tokens.len()).find(|&at| {
        let before = at.checked_sub(1).map_or("", word);
        let relates = match word(at) {
            // "we need 2.1" asks for 2.1.
            "need" => matches!(before, "that" | "which" | "what"),
            "waiting" | "blocked" => matches!(word(at + 1), "by" | "for" | "on"),
            word => lexicon::is_needing(word),
        };
        let places = || main.references.at.iter().map(|(place, _)| *place);
        let named = (places().any(|place| place > at) || main.spans.iter().any(|s| s.start > at))
            && !places().any(|place| place < at);
        relates && named && !main.spans.iter().any(|span| span.start <= at && at < span.end)
    })
}

/// The first word with a meaning, unless all the streams have it themselves.
fn head<'a>(context: &'a Context<'_>, picks: &Picks) -> Option<&'a str> {
    let tokens = &context.main.tokens;
    let at = tokens
        .iter()
        .position(|token| !lexicon::is_grammar(&token.word) && !lexicon::is_filler(&token.word))?;
    let posting = context.catalog.vocabulary.posting(&tokens[at].stem);
    let theirs = posting.is_some_and(|posting| {
        picks.iter().all(|(entry, _)| {
            posting.names.binary_search(entry).is_ok() || posting.tasks.binary_search(entry).is_ok()
        })
    });
    (!theirs).then_some(tokens[at].word.as_str())
}

/// Whether a stream is spoken about: "2.1 is done", "2.1 needs tests", "we finished 2.1".
fn states(context: &Context<'_>) -> bool {
    let main = &context.main;
    let tokens = &main.tokens;
    let in_name = |at: usize| main.spans.iter().any(|span| span.start <= at && at < span.end);
    let named = |at: usize| {
        let posting = context.catalog.vocabulary.posting(&tokens[at].stem);
        let theirs = posting.is_some_and(|posting| !posting.names.is_empty());
        main.references.at.iter().any(|(place, _)| *place == at)
            || in_name(at)
            || (theirs && !lexicon::is_weightless(&tokens[at].word))
    };
    let Some(subject) = (0..tokens.len()).find(|&at| named(at)) else { return false };
    let (before, after) = (&tokens[..subject], subject + 1..tokens.len());
    if tells_of_people(before) {
        return true;
    }
    let leads = |token: &Token| {
        // "I want 2.1 done" is an order.
        let wish =
            matches!(token.word.as_str(), "want" | "wants" | "need" | "wish" | "like" | "let");
        lexicon::is_kind(&token.word)
            || (lexicon::is_filler(&token.word) && !wish)
            || (lexicon::is_grammar(&token.word) && !lexicon::is_asking(&token.word))
    };
    let mut told = false;
    for at in after.filter(|&at| !in_name(at) && !main.references.read[at]) {
        let word = tokens[at].word.as_str();
        let previous = tokens[at - 1].word.as_str();
        let opens = matches!(tokens[at].gap, Gap::Comma | Gap::Sentence)
            || matches!(previous, "and" | "then");
        if lexicon::is_doing(word) && opens && !told {
            return false;
        }
        let relative = matches!(
            previous,
            "it" | "that" | "which" | "what" | "whatever" | "this" | "there" | "who" | "because"
        );
        let done = lexicon::is_state(word) && word != "available";
        told |= (lexicon::is_predicate(word) && !relative) || done;
    }
    told && before.iter().all(leads)
}

/// "I finished …", "somebody is working on …".
fn tells_of_people(words: &[Token]) -> bool {
    let people = |word: &str| {
        matches!(word, "i" | "we" | "he" | "she" | "they" | "somebody" | "someone" | "everybody")
    };
    let Some(at) = words.iter().position(|token| people(&token.word)) else { return false };
    let mut rest = words[at + 1..].iter().map(|token| token.word.as_str());
    let verb = rest.find(|word| {
        !matches!(*word, "already" | "just" | "really" | "have" | "has" | "had" | "also")
    });
    verb.is_some_and(|verb| {
        lexicon::is_state(verb)
            || matches!(
                verb,
                "did"
                    | "is"
                    | "are"
                    | "was"
                    | "were"
                    | "am"
                    | "like"
                    | "love"
                    | "hate"
                    | "fixed"
                    | "built"
                    | "implemented"
                    | "wrote"
                    | "shipped"
                    | "closed"
                    | "broke"
                    | "reviewed"
                    | "tested"
                    | "ran"
                    | "know"
                    | "doubt"
            )
    })
}
