use super::*;

fn worker(name: &str) -> WorkerId {
    WorkerId(name.to_owned())
}

fn invitation(id: &str, name: Option<&str>, uses_max: u32) -> Invitation {
    Invitation {
        id: id.to_owned(),
        key: "K".to_owned(),
        worker: name.map(worker),
        uses_max,
        created_at: Timestamp(0),
        expires_at: Timestamp(1_000),
    }
}

fn ask<'a>(invitation: &'a str, worker: &'a str, key: &'a str) -> Ask<'a> {
    Ask { invitation, worker, key }
}

fn register(invitations: Vec<Invitation>) -> Register {
    let mut register = Register::default();
    for invitation in invitations {
        register.decide_invitation(&invitation).unwrap();
        register.apply(Change::Invited(invitation));
    }
    register
}

fn join(register: &mut Register, ask: Ask<'_>, now: i64) -> Result<Credential, Denial> {
    let credential = register.decide_join(ask, Timestamp(now))?;
    register.apply(Change::Admitted(credential.clone()));
    Ok(credential)
}

#[test]
fn an_invitation_lets_one_machine_in_once() {
    let mut register = register(vec![invitation("i", None, 1)]);
    let credential = join(&mut register, ask("i", "w", "A"), 5).unwrap();
    assert_eq!(credential.worker, worker("w"));
    // Asked again, because the answer was lost, it is the same; also when time has passed.
    assert_eq!(join(&mut register, ask("i", "w", "A"), 2_000), Ok(credential));
    assert_eq!(register.credentials.len(), 1);
    // Another machine with the same token is too late.
    let used = Err(Denial::Used { worker: worker("w") });
    assert_eq!(join(&mut register, ask("i", "other", "B"), 6), used);
}

#[test]
fn what_is_over_or_unknown_lets_nobody_in() {
    let mut register = register(vec![invitation("i", None, 1)]);
    assert_eq!(join(&mut register, ask("j", "w", "A"), 5), Err(Denial::Unknown));
    assert_eq!(join(&mut register, ask("i", "w", "A"), 1_000), Err(Denial::Expired));
    for name in ["", "a.b", "*", "W"] {
        let denied = Err(Denial::Name { name: name.to_owned() });
        assert_eq!(join(&mut register, ask("i", name, "A"), 5), denied);
    }
    assert!(register.credentials.is_empty());
}

#[test]
fn a_name_belongs_to_one_machine() {
    let mut register =
        register(vec![invitation("many", None, 3), invitation("one", Some("big"), 1)]);
    let other = Denial::OtherWorker { invited: worker("big"), asked: "w".to_owned() };
    assert_eq!(join(&mut register, ask("one", "w", "A"), 5), Err(other));
    assert_eq!(join(&mut register, ask("one", "", "A"), 5).unwrap().worker, worker("big"));
    let taken = Denial::Taken { worker: worker("big") };
    assert_eq!(join(&mut register, ask("many", "big", "B"), 5), Err(taken.clone()));
    assert_eq!(join(&mut register, ask("many", "x", "A"), 5), Err(taken.clone()));
    assert_eq!(register.decide_invitation(&invitation("again", Some("big"), 1)), Err(taken));
    join(&mut register, ask("many", "x", "B"), 5).unwrap();
}

#[test]
fn who_is_revoked_does_not_come_back_and_the_name_is_free() {
    let mut register = register(vec![invitation("i", None, 5), invitation("j", Some("w"), 1)]);
    join(&mut register, ask("i", "w", "A"), 5).unwrap();
    register.decide_revocation("w").unwrap();
    register.apply(Change::Revoked { worker: worker("w"), at: Timestamp(9) });
    let revoked = Err(Denial::Revoked { worker: worker("w") });
    assert_eq!(join(&mut register, ask("i", "w", "A"), 10), revoked);
    assert_eq!(join(&mut register, ask("j", "w", "B"), 10), Err(Denial::Unknown));
    join(&mut register, ask("i", "w", "B"), 10).unwrap();
    assert_eq!(register.admitted(&worker("w")).unwrap().key, "B");
    let nobody = Err(Denial::Nobody { worker: "ghost".to_owned() });
    assert_eq!(register.decide_revocation("ghost"), nobody);
}

#[test]
fn invitations_have_limits() {
    let register = Register::default();
    let long = i64::try_from(INVITATION_MAX.as_millis()).unwrap();
    for (expires_at, uses_max, name) in [
        (0, 1, None),
        (long + 1, 1, None),
        (1, 0, None),
        (1, USES_MAX + 1, None),
        (1, 2, Some("w")),
    ] {
        let expires_at = Timestamp(expires_at);
        let bad = Invitation { expires_at, ..invitation("i", name, uses_max) };
        assert_eq!(register.decide_invitation(&bad), Err(Denial::Limits));
    }
    let longest = Invitation { expires_at: Timestamp(long), ..invitation("i", None, USES_MAX) };
    assert_eq!(register.decide_invitation(&longest), Ok(()));
    let bad = invitation("i", Some("A b"), 1);
    assert_eq!(register.decide_invitation(&bad), Err(Denial::Name { name: "A b".to_owned() }));
}
