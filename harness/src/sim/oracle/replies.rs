//! Every reply is one that the naive model allows.

use crate::client::Reply;
use crate::model::Answer;

/// What may be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// What the model says. Nothing was changed, so the command may have been refused as well.
    Harmless(Answer),
    /// What the model says: the command was carried out.
    Done(Answer),
    /// EXEC: a reply to each; whether something was changed.
    Each(Vec<Answer>, bool),
    /// EXEC of a transaction whose watched keys were touched.
    Nothing,
    /// `QUEUED`, unless writes are refused.
    Queued,
    /// An error: the engine did not carry it out.
    Refusal,
    /// Any well-formed reply.
    Anything,
}

/// Whether a reply may be given.
///
/// # Errors
/// What is wrong with it.
pub fn check_reply(expected: &Expected, reply: &Reply) -> Result<(), String> {
    let is_refusal = is_refusal(reply);
    let is_right = match (expected, reply) {
        (Expected::Harmless(answer), reply) => is_refusal || answer.allows(reply),
        (Expected::Done(answer), reply) => answer.allows(reply),
        (Expected::Each(answers, has_changed), Reply::Array(replies)) => {
            let is_each = answers.iter().zip(replies).all(|(answer, reply)| fits(answer, reply));
            answers.len() == replies.len() && is_each || !has_changed && is_refusal
        }
        (Expected::Each(_, has_changed), _) => !has_changed && is_refusal,
        (Expected::Nothing, reply) => is_refusal || *reply == Reply::Null,
        (Expected::Queued, Reply::Simple(text)) => text == "QUEUED",
        (Expected::Queued | Expected::Refusal, _) => is_refusal,
        (Expected::Anything, _) => true,
    };
    if is_right { Ok(()) } else { Err(format!("expected {expected:?}, got {reply:?}")) }
}

/// Inside of EXEC nobody waits.
fn fits(answer: &Answer, reply: &Reply) -> bool {
    match answer {
        Answer::Wait => *reply == Reply::Null,
        answer => answer.allows(reply),
    }
}

/// Whether a reply is an error by which a server refuses whatever it is asked: it tells of nothing.
pub fn is_refusal(reply: &Reply) -> bool {
    let codes = ["MISCONF", "EXECABORT", "LOADING"];
    matches!(reply, Reply::Error(text) if codes.iter().any(|code| text.starts_with(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &Expected, reply: Reply, is_right: bool) {
        assert_eq!(check_reply(expected, &reply).is_ok(), is_right, "{expected:?} {reply:?}");
    }

    fn refusal() -> Reply {
        Reply::Error("MISCONF Errors writing to the AOF file".into())
    }

    #[test]
    fn a_reply_that_is_off_by_one_is_noticed() {
        let two = || Answer::Exactly(Reply::Integer(2));
        check(&Expected::Done(two()), Reply::Integer(2), true);
        check(&Expected::Done(two()), Reply::Integer(3), false);
        check(&Expected::Each(vec![two()], true), Reply::Array(vec![Reply::Integer(3)]), false);
        check(&Expected::Each(vec![two()], true), Reply::Array(vec![Reply::Integer(2)]), true);
    }

    #[test]
    fn what_was_done_was_not_refused_and_the_reverse() {
        check(&Expected::Done(Answer::Anything), refusal(), true);
        check(&Expected::Done(Answer::Exactly(Reply::Integer(1))), refusal(), false);
        check(&Expected::Harmless(Answer::Exactly(Reply::Integer(1))), refusal(), true);
        check(&Expected::Refusal, refusal(), true);
        check(&Expected::Refusal, Reply::Simple("OK".into()), false);
        check(&Expected::Each(vec![], true), refusal(), false);
        check(&Expected::Nothing, Reply::Array(vec![]), false);
    }
}
