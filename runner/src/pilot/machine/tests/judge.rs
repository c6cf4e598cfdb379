//! The judgement of an answer by another agent.

use super::*;
use oarmaster_protocol::assignment::{Judge, Score};
use oarmaster_protocol::request::{Answer, Ask};

fn judging(mut assignment: Assignment, rounds: u32, best: bool) -> Assignment {
    let command = assignment.accept.take().map(|accept| accept.command);
    assignment.accept = Some(Accept {
        command: command.unwrap_or_default(),
        exit_code: 0,
        judge: Some(Judge {
            agent: "critic".into(),
            score: Score::parse("0.8").unwrap(),
            inclusive: true,
        }),
        rounds,
        best,
    });
    assignment
}

fn plain(rounds: u32, best: bool) -> Assignment {
    let mut assignment = agent(&[]);
    assignment.sandbox = None;
    judging(assignment, rounds, best)
}

fn judged(score: f64) -> Event {
    let value = json!({"score": score, "feedback": "say why"});
    Event::Replied(Answer::new(true, value))
}

fn output(outcome: &Outcome) -> &Value {
    outcome.output.as_ref().unwrap()
}

#[test]
fn an_answer_is_shown_to_the_judge_and_accepted_by_its_score() {
    let (records, next) = play(plain(2, false), vec![text("because")]);
    assert!(matches!(next, Next::Await { .. }));
    let asked = records.iter().find_map(|body| match body {
        Body::Asked {
            what: Ask::Judge { agent, prompt },
            ..
        } => Some((agent, prompt)),
        _ => None,
    });
    let (agent, prompt) = asked.unwrap();
    assert_eq!(agent, "critic");
    assert!(
        prompt.contains("Do it.") && prompt.contains(r#"{"text":"because"}"#),
        "{prompt}"
    );

    let (records, next) = play(plain(2, false), vec![text("because"), judged(0.8)]);
    let Next::Finish(outcome) = next else {
        panic!()
    };
    assert!(outcome.failure.is_none());
    assert_eq!(output(&outcome), &json!({"text": "because"}));
    let judged = records.iter().find_map(|body| match body {
        Body::Judged {
            round,
            score,
            accepted,
            ..
        } => Some((*round, score.to_string(), *accepted)),
        _ => None,
    });
    assert_eq!(judged, Some((1, "0.8".to_owned(), true)));
}

#[test]
fn feedback_is_the_next_observation_until_no_round_is_left() {
    let events = vec![text("a"), judged(0.5)];
    let told = last_message(&play(plain(2, false), events).1);
    assert!(
        told.contains("Its score is 0.5; a score >= 0.8 is wanted."),
        "{told}"
    );
    assert!(told.contains("say why"), "{told}");

    let events = vec![text("a"), judged(0.5), text("b"), judged(0.9)];
    let ended = outcome(plain(2, false), events);
    assert!(ended.failure.is_none() && output(&ended) == &json!({"text": "b"}));

    let events = vec![text("a"), judged(0.5), text("b"), judged(0.4)];
    let ended = outcome(plain(2, false), events);
    let failure = ended.failure.as_ref().unwrap();
    assert_eq!(failure.class, FailureClass::NotAccepted);
    assert_eq!(
        failure.message,
        "the judge critic gave 0.4, and a score >= 0.8 is wanted (2 of 2 rounds)"
    );
    assert_eq!(output(&ended), &json!({"text": "b"}));
}

#[test]
fn the_best_output_is_taken_where_that_is_to_be_so() {
    for scores in [[0.5, 0.4], [0.5, 0.5]] {
        let [first, second] = scores;
        let events = vec![text("a"), judged(first), text("b"), judged(second)];
        let ended = outcome(plain(2, true), events);
        assert!(ended.failure.is_none());
        assert_eq!(output(&ended), &json!({"text": "a"}), "{scores:?}");
    }
    // What the check does not accept is never the best.
    let events = vec![
        probed(true),
        text("a"),
        ended(0),
        judged(0.5),
        text("b"),
        ended(1),
    ];
    let checked = judging(checked(agent(&["Shell"]), 2), 2, true);
    let ended = outcome(checked, events);
    assert!(ended.failure.is_none());
    assert_eq!(output(&ended), &json!({"text": "a"}));
}

#[test]
fn the_judge_sees_what_the_check_accepted_alone() {
    let assignment = || judging(checked(agent(&["Shell"]), 3), 3, false);
    let next = play(assignment(), vec![probed(true), text("a"), ended(1)]).1;
    assert!(matches!(next, Next::Model(_)));
    let next = play(assignment(), vec![probed(true), text("a"), ended(0)]).1;
    assert!(matches!(next, Next::Await { .. }));
}

#[test]
fn a_judge_that_gives_no_judgement_ends_the_attempt_or_leaves_the_best() {
    for answer in [
        Answer::new(false, json!("Timeout: too late")),
        Answer::new(true, json!({"score": 7})),
        Answer::new(true, json!({"text": "fine"})),
    ] {
        let reply = || Event::Replied(answer.clone());
        let ended = outcome(plain(2, true), vec![text("a"), reply()]);
        let failure = ended.failure.unwrap();
        assert_eq!(failure.class, FailureClass::StepFailed);
        assert!(
            failure
                .message
                .starts_with("the judge critic gave no judgement: ")
        );

        let events = vec![text("a"), judged(0.1), text("b"), reply()];
        let ended = outcome(plain(2, true), events);
        assert!(ended.failure.is_none() && output(&ended) == &json!({"text": "a"}));
    }
}

#[test]
fn a_judgement_as_text_is_read() {
    let value = json!({"text": "```json\n{\"score\": 0.9, \"feedback\": \"\"}\n```"});
    let reply = Event::Replied(Answer::new(true, value));
    let ended = outcome(plain(1, false), vec![text("a"), reply]);
    assert!(ended.failure.is_none());
}

#[test]
fn a_prompt_that_is_long_is_shown_in_part() {
    let mut assignment = plain(1, false);
    if let Target::Agent(agent) = &mut assignment.target {
        agent.prompt = "\u{1}".repeat(130_000);
    }
    let next = play(assignment, vec![text("a")]).1;
    assert!(matches!(next, Next::Await { .. }));
}
