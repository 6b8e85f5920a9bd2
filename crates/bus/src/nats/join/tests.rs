use super::*;

fn token() -> JoinToken {
    let authority = Authority::generate().unwrap();
    let terms = TokenTerms {
        servers: vec!["tls://hub:4222".to_owned()],
        root: Root::new("band").unwrap(),
        worker: Some(WorkerId("box-2".to_owned())),
        require_tls: true,
        authorities: Some("PEM".to_owned()),
    };
    JoinToken::issue(&authority, "0a1b", terms, 100, 200).unwrap().0
}

#[test]
fn a_token_is_read_as_it_was_written() {
    let token = token();
    let text = token.to_text();
    let broken: String = text.reveal().chars().flat_map(|char| [char, '\n']).collect();
    for text in [text.reveal(), &broken] {
        let read = JoinToken::parse(text).unwrap();
        assert_eq!(read.servers(), token.servers());
        assert_eq!(read.root(), token.root());
        assert_eq!(read.worker(), Some("box-2"));
        assert_eq!(read.authorities(), Some("PEM"));
        assert_eq!(read.invitation, "0a1b");
        assert_eq!(read.expires_at(), Some(200));
        assert!(read.require_tls());
        assert_eq!(read.seed, token.seed);
    }
}

#[test]
fn a_token_that_was_changed_is_damaged() {
    let text = token().to_text().reveal().to_owned();
    for at in PREFIX.len()..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(JoinToken::parse(&changed).unwrap_err(), BadToken::Damaged, "{at}");
        assert_eq!(JoinToken::parse(&text[..at]).unwrap_err(), BadToken::Damaged, "{at}");
    }
    for other in ["", "kapelle", "SUA", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert_eq!(JoinToken::parse(other).unwrap_err(), BadToken::Other);
    }
}

#[test]
fn secrets_of_a_token_are_not_shown() {
    let token = token();
    let key = WorkerKey::generate();
    let shown = format!("{token:?} {key:?} {:?}", token.to_text());
    assert!(!shown.contains(token.seed.reveal()), "{shown}");
    assert!(!shown.contains(key.seed().unwrap().reveal()), "{shown}");
    assert!(WorkerKey::from_seed(key.seed().unwrap().reveal()).is_some());
    assert!(WorkerKey::from_seed("SUA").is_none());
}
