//! A second machine becomes a worker by one line that is pasted there, over TLS with an authority of
//! our own, and stops being one when it is revoked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kapelle_tests::{Finished, NatsConfig, NatsServer, Project, Running};

/// The sample that is deployed with Docker, on a server with the configuration that is made for it.
struct Fleet {
    project: Project,
    nats: NatsServer,
    authority: PathBuf,
}

/// Another machine: nothing of it leads to the project.
struct Machine<'f> {
    fleet: &'f Fleet,
    home: PathBuf,
    directory: PathBuf,
}

fn sample(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sample").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A certificate for this machine, its key, and the authority that vouches for it.
fn certificates(directory: &Path) -> [PathBuf; 3] {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).expect("a certificate");
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate().expect("a key");
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let server = server.signed_by(&server_key, &issuer).expect("a certificate");
    [
        ("server.pem", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("ca.pem", certificate.pem()),
    ]
    .map(|(name, text)| {
        let path = directory.join(name);
        fs::write(&path, text).expect("a file");
        path
    })
}

impl Fleet {
    fn new() -> Self {
        let project = Project::with_files(&[
            ("kapelle.yaml", &sample("project/kapelle.yaml")),
            ("ROADMAP.md", &sample("project/ROADMAP.md")),
        ]);
        let [certificate, key, authority] = certificates(project.around());
        let store = project.around().join("nats");
        let config = ["nats", "config", "--store", utf8(&store), "--tls-cert", utf8(&certificate)];
        let config = [&config[..], &["--tls-key", utf8(&key)]].concat();
        let made = project.kapelle(&config);
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.stderr.contains("back it up"), "{made:?}");
        let secret = project.root().join(".kapelle/nats.nk");
        let mode = fs::metadata(&secret).expect("the secret").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!made.stdout.contains(fs::read_to_string(&secret).expect("it").trim()));
        let again = project.kapelle(&config);
        assert_eq!(again.stdout, made.stdout, "the same settings give the same configuration");
        let whole = Some(made.stdout);
        let nats = NatsServer::start_with(NatsConfig { whole, ..NatsConfig::default() });
        Self { project, nats, authority }
    }

    fn environment(&self) -> [(String, String); 2] {
        let servers = format!("[\"{}\"]", self.nats.url().replace("nats://", "tls://"));
        [
            ("KAPELLE__NATS__SERVERS".to_owned(), servers),
            ("KAPELLE__NATS__CA_FILE".to_owned(), utf8(&self.authority).to_owned()),
        ]
    }

    fn coordinator(&self) -> Running {
        let environment = self.environment();
        let environment = environment.each_ref().map(|(name, value)| (&**name, &**value));
        let coordinator = self.project.start_with(&["coordinator"], &environment);
        self.project.wait_for("the coordinator", || {
            (self.project.kapelle(&["health"]).code == Some(0)).then_some(())
        });
        coordinator
    }

    /// The line to paste on another machine, without the program's name.
    fn invite(&self, more: &[&str]) -> Vec<String> {
        let invited = self.project.kapelle(&[&["workers", "invite"], more].concat());
        assert_eq!(invited.code, Some(0), "{invited:?}");
        let line = invited.stdout.strip_suffix('\n').expect("one line");
        assert_eq!(line.lines().count(), 1, "{invited:?}");
        line.strip_prefix("kapelle ").expect("a command").split(' ').map(str::to_owned).collect()
    }

    fn machine(&self, name: &str) -> Machine<'_> {
        let directory = self.project.around().join(name);
        let home = directory.join("home");
        fs::create_dir_all(&home).expect("a directory");
        let config = sample("worker/kapelle.yaml");
        fs::write(directory.join("kapelle.yaml"), config).expect("a file");
        Machine { fleet: self, home, directory }
    }

    fn workers(&self) -> Vec<String> {
        let listed = self.project.json(&["workers", "-o", "json"]);
        let ids = listed.as_array().expect("a list").iter();
        ids.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
    }
}

impl Machine<'_> {
    fn start(&self, args: &[&str]) -> Running {
        let environment = [("HOME", utf8(&self.home)), ("HOSTNAME", "box")];
        let args = [&["-C", utf8(&self.directory)], args].concat();
        self.fleet.project.start_with(&args, &environment)
    }

    fn kapelle(&self, args: &[&str]) -> Finished {
        self.start(args).wait()
    }

    fn paste(&self, line: &[String]) -> Finished {
        self.kapelle(&line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.join(".config/kapelle").join(name)
    }
}

#[test]
fn a_machine_joins_by_one_line_works_and_is_revoked() {
    let fleet = Fleet::new();
    let coordinator = fleet.coordinator();
    let line = fleet.invite(&["one"]);
    let one = fleet.machine("one");
    let joined = one.paste(&line);
    assert_eq!(joined.code, Some(0), "{joined:?}");
    assert!(joined.stderr.contains("worker one now"), "{joined:?}");
    let credentials = fs::metadata(one.file("fleet.creds")).expect("credentials");
    assert_eq!(credentials.permissions().mode() & 0o777, 0o600);
    let mut kept: Vec<_> = fs::read_dir(one.file("")).expect("a directory").flatten().collect();
    kept.sort_by_key(fs::DirEntry::file_name);
    let kept: Vec<_> = kept.iter().map(fs::DirEntry::file_name).collect();
    assert_eq!(kept, ["fleet-ca.pem", "fleet.creds", "fleet.yaml"]);

    // From now on it just starts.
    let mut working = one.start(&["worker"]);
    fleet
        .project
        .wait_for("the worker", || fleet.workers().contains(&"one".to_owned()).then_some(()));
    let batch = fleet.project.kapelle(&["batch"]);
    assert_eq!(batch.code, Some(0), "{batch:?}");
    let mut integrated = fleet.project.integrated("main");
    integrated.sort();
    assert_eq!(integrated, ["1.1", "1.2", "1.3"]);
    let health = one.kapelle(&["health", "--worker"]);
    assert_eq!(health.code, Some(0), "{health:?}");

    let revoked = fleet.project.kapelle(&["workers", "revoke", "one"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert!(revoked.stdout.contains("one is revoked"), "{revoked:?}");
    assert!(!revoked.stderr.contains("doesn't know"), "the server was told: {revoked:?}");
    assert!(!working.has_ended(), "it may have been a mistake: it goes on trying");
    working.kill_tree();
    let refused = one.kapelle(&["worker"]);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("doesn't accept these credentials"), "{refused:?}");
    // The name is free again, for whoever is invited.
    let joined = one.paste(&fleet.invite(&["one"]));
    assert_eq!(joined.code, Some(0), "{joined:?}");
    let ended = coordinator.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let secret = fleet.project.read(".kapelle/nats.nk");
    assert!(!ended.stderr.contains(secret.trim()), "no secret is logged");
}

#[test]
fn a_token_that_is_of_no_use_is_refused_with_words() {
    let fleet = Fleet::new();
    let _coordinator = fleet.coordinator();
    let (one, two) = (fleet.machine("one"), fleet.machine("two"));
    let line = fleet.invite(&[]);
    assert_eq!(one.paste(&line).code, Some(0), "the machine's own name will do");

    let refused = |line: &[String], words: &str, code: i32| {
        let finished = two.paste(line);
        assert_eq!(finished.code, Some(code), "{words}: {finished:?}");
        assert!(finished.stderr.contains(words), "{words}: {finished:?}");
        assert!(!two.file("fleet.creds").exists(), "nothing is kept");
    };
    refused(&line, "used already, by worker box", 4);
    let other_name = [line.clone(), vec!["--name".to_owned(), "two".to_owned()]].concat();
    refused(&other_name, "used already", 4);
    refused(&fleet.invite(&[]), "another machine is worker box", 4);
    let for_big = [fleet.invite(&["big"]), vec!["--name".to_owned(), "two".to_owned()]].concat();
    refused(&for_big, "is for worker big, not for two", 4);
    let mut changed = line.clone();
    let token = changed.last_mut().expect("a token");
    let middle = token.len() / 2;
    let with = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    token.replace_range(middle..=middle, with);
    refused(&changed, "the token is damaged", 2);
    refused(&["join".to_owned(), "something".to_owned()], "this is no token", 2);
    let brief = fleet.invite(&["brief", "--for", "1s"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    refused(&brief, "expired", 4);
    let withdrawn = fleet.invite(&["gone"]);
    assert_eq!(fleet.project.kapelle(&["workers", "revoke", "gone"]).code, Some(0));
    refused(&withdrawn, "not known here, or was withdrawn", 4);
    let nobody = fleet.project.kapelle(&["workers", "revoke", "nobody"]);
    assert_eq!(nobody.code, Some(3), "{nobody:?}");

    // A worker can't take another's name.
    let impostor = one.kapelle(&["worker", "--name", "big"]);
    assert_ne!(impostor.code, Some(0), "{impostor:?}");
    assert!(impostor.stderr.contains("refuses what Kapelle needs"), "{impostor:?}");
}

#[test]
fn a_server_is_not_trusted_without_its_authority() {
    let fleet = Fleet::new();
    let [_, _, other] = certificates(&fleet.machine("elsewhere").home);
    let environment = fleet.environment();
    let environment =
        [(&*environment[0].0, &*environment[0].1), ("KAPELLE__NATS__CA_FILE", utf8(&other))];
    let refused = fleet.project.kapelle_with(&["coordinator"], &environment);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("TLS failed"), "{refused:?}");
    assert!(refused.stderr.contains("authority is trusted here"), "{refused:?}");
}
