use super::*;

#[test]
fn what_is_not_said_is_as_configured() {
    let mut config = Config::default();
    config.run.concurrency = 4;
    let mut check = |mode, wish: Wish, expected: (Selection, Option<u32>)| {
        config.run.mode = mode;
        assert_eq!(wish.clone().select(Some(&config)), expected, "{wish:?} {mode:?}");
    };
    let ids = vec!["1.2".to_owned()];
    check(Mode::Single, Wish::AsConfigured, (Selection::Next {}, None));
    check(Mode::Parallel, Wish::AsConfigured, (Selection::Parallel { count: 4 }, Some(4)));
    check(Mode::Batch, Wish::AsConfigured, (Selection::Batch { exclude: Vec::new() }, None));
    check(Mode::Batch, Wish::Streams(ids.clone()), (Selection::Streams { ids }, None));
    check(Mode::Single, Wish::Parallel(None), (Selection::Parallel { count: 4 }, Some(4)));
    check(Mode::Single, Wish::Parallel(Some(9)), (Selection::Parallel { count: 9 }, Some(9)));
    check(Mode::Single, Wish::Batch(Some(2)), (Selection::Batch { exclude: Vec::new() }, Some(2)));
}

#[test]
fn without_a_project_the_defaults_hold() {
    let parallel = (Selection::Parallel { count: 3 }, Some(3));
    assert_eq!(Wish::Parallel(None).select(None), parallel);
    assert_eq!(Wish::AsConfigured.select(None), (Selection::Next {}, None));
}

#[test]
fn a_batch_is_asked_for_as_before_unless_something_is_left_out() {
    let check = |exclude: &[&str], json: &str| {
        let exclude = exclude.iter().map(|&id| id.to_owned()).collect();
        let batch = Selection::Batch { exclude };
        assert_eq!(serde_json::to_string(&batch).unwrap(), json);
        assert_eq!(serde_json::from_str::<Selection>(json).unwrap(), batch);
    };
    check(&[], r#"{"kind":"batch"}"#);
    check(&["1.3"], r#"{"kind":"batch","exclude":["1.3"]}"#);
    let goal = Selection::Batch { exclude: vec!["1.3".to_owned()] };
    assert_eq!(Wish::Goal(goal.clone(), Some(2)).select(None), (goal, Some(2)));
}
