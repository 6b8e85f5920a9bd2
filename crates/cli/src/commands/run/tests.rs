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
    check(Mode::Single, Wish::AsConfigured, (Selection::Next, None));
    check(Mode::Parallel, Wish::AsConfigured, (Selection::Parallel { count: 4 }, Some(4)));
    check(Mode::Batch, Wish::AsConfigured, (Selection::Batch, None));
    check(Mode::Batch, Wish::Streams(ids.clone()), (Selection::Streams { ids }, None));
    check(Mode::Single, Wish::Parallel(None), (Selection::Parallel { count: 4 }, Some(4)));
    check(Mode::Single, Wish::Parallel(Some(9)), (Selection::Parallel { count: 9 }, Some(9)));
    check(Mode::Single, Wish::Batch(Some(2)), (Selection::Batch, Some(2)));
}

#[test]
fn without_a_project_the_defaults_hold() {
    let parallel = (Selection::Parallel { count: 3 }, Some(3));
    assert_eq!(Wish::Parallel(None).select(None), parallel);
    assert_eq!(Wish::AsConfigured.select(None), (Selection::Next, None));
}
