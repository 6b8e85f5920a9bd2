//! Who may depend on whom. Dependencies for tests are free: they never reach the product.

use super::Violation;
use crate::workspace::Package;

/// The members that one member may depend on.
struct Layer {
    package: &'static str,
    may_use: Members,
}

enum Members {
    All,
    Only(&'static [&'static str]),
}

/// Dependencies point one way: from the programs down to `domain`, which knows nobody.
const LAYERS: &[Layer] = &[
    Layer { package: "kapelle-domain", may_use: Members::Only(&[]) },
    Layer { package: "kapelle-git", may_use: Members::Only(&[]) },
    Layer { package: "kapelle-runtime", may_use: Members::Only(&[]) },
    Layer { package: "kapelle-proto", may_use: Members::Only(&[]) },
    Layer { package: "kapelle-bus", may_use: Members::Only(&["kapelle-domain", "kapelle-proto"]) },
    Layer { package: "kapelle-store", may_use: Members::Only(&["kapelle-domain"]) },
    Layer {
        package: "kapelle-worker",
        may_use: Members::Only(&[
            "kapelle-bus",
            "kapelle-domain",
            "kapelle-git",
            "kapelle-runtime",
        ]),
    },
    Layer {
        package: "kapelle-coordinator",
        may_use: Members::Only(&[
            "kapelle-bus",
            "kapelle-domain",
            "kapelle-git",
            "kapelle-runtime",
            "kapelle-store",
        ]),
    },
    Layer { package: "kapelle-cli", may_use: Members::All },
    Layer { package: "kapelle-tests", may_use: Members::All },
    Layer { package: "xtask", may_use: Members::Only(&[]) },
];

/// A library that has a home: the members that may use it, and why no other may.
struct Library {
    name: &'static str,
    home: Home,
    reason: &'static str,
}

enum Home {
    In(&'static [&'static str]),
    NotIn(&'static [&'static str]),
}

const LIBRARIES: &[Library] = &[
    Library {
        name: "async-nats",
        // The benchmark asks a bare server what it can do without us.
        home: Home::In(&["kapelle-bus", "kapelle-tests"]),
        reason: "only kapelle-bus talks to NATS, so that every subject has one definition",
    },
    Library {
        name: "axum",
        home: Home::In(&["kapelle-coordinator"]),
        reason: "only kapelle-coordinator serves HTTP",
    },
    Library {
        name: "clap",
        home: Home::In(&["kapelle-cli", "kapelle-tests", "xtask"]),
        reason: "only programs parse arguments; libraries take values",
    },
    Library {
        name: "kapelle-proto",
        home: Home::In(&["kapelle-bus"]),
        reason: "wire types stop at the bus, which converts them to domain types",
    },
    Library {
        name: "prost",
        home: Home::In(&["kapelle-bus", "kapelle-proto"]),
        reason: "wire types stop at the bus, which converts them to domain types",
    },
    Library {
        name: "reqwest",
        home: Home::In(&["kapelle-cli", "kapelle-tests"]),
        reason: "only kapelle-cli is an HTTP client",
    },
    Library {
        name: "sqlx",
        home: Home::In(&["kapelle-store"]),
        reason: "only kapelle-store speaks SQL",
    },
    Library {
        name: "tokio",
        home: Home::NotIn(&["kapelle-domain"]),
        reason: "the domain is synchronous and does no input or output",
    },
];

/// Every forbidden dependency of `packages`, the members of the workspace.
pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    let is_member = |name: &str| packages.iter().any(|package| package.name == name);
    let mut violations = Vec::new();
    for package in packages {
        let layer = LAYERS.iter().find(|layer| layer.package == package.name);
        if layer.is_none() {
            violations.push(Violation::UnknownMember { package: package.name.clone() });
        }
        let used = package.dependencies.iter().filter(|used| !used.only_for_tests());
        for name in used.map(|used| used.name.as_str()) {
            if let Some(Layer { may_use: Members::Only(allowed), .. }) = layer
                && is_member(name)
                && !allowed.contains(&name)
            {
                let (from, to) = (package.name.clone(), name.to_owned());
                violations.push(Violation::Edge { from, to, allowed });
            }
            violations.extend(away_from_home(&package.name, name));
        }
    }
    violations
}

fn away_from_home(package: &str, dependency: &str) -> Option<Violation> {
    let library = LIBRARIES.iter().find(|library| library.name == dependency)?;
    let at_home = match library.home {
        Home::In(packages) => packages.contains(&package),
        Home::NotIn(packages) => !packages.contains(&package),
    };
    (!at_home).then(|| Violation::Library {
        from: package.to_owned(),
        library: library.name,
        reason: library.reason,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::check;
    use crate::workspace::{Package, Workspace};

    /// Members as cargo describes them: `(name, [(dependency, kind)])`, an empty kind is ordinary.
    fn members(of: &[(&str, &[(&str, &str)])]) -> Vec<Package> {
        let packages = of.iter().map(|(name, dependencies)| {
            let dependencies = dependencies.iter().map(|(name, kind)| {
                let kind = (!kind.is_empty()).then_some(kind);
                json!({ "name": name, "kind": kind, "req": "^1", "optional": false })
            });
            let dependencies: Vec<_> = dependencies.collect();
            json!({ "name": name, "version": "0.1.0", "dependencies": dependencies })
        });
        serde_json::from_value(packages.collect()).unwrap()
    }

    /// Checks a workspace that has every crate, of which `package` depends on `dependency`.
    fn edge(package: &str, dependency: &str, kind: &str) -> Vec<String> {
        let names = [
            "kapelle-domain",
            "kapelle-store",
            "kapelle-bus",
            "kapelle-git",
            "kapelle-proto",
            "xtask",
        ];
        let mut of: Vec<(&str, &[(&str, &str)])> =
            names.into_iter().filter(|name| *name != package).map(|name| (name, &[][..])).collect();
        let dependencies = [(dependency, kind)];
        of.push((package, &dependencies));
        check(&members(&of)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_edges_of_the_design_are_allowed() {
        for (package, dependency, kind) in [
            ("kapelle-bus", "kapelle-domain", ""),
            ("kapelle-store", "kapelle-domain", ""),
            ("kapelle-store", "sqlx", ""),
            ("kapelle-bus", "async-nats", ""),
            ("kapelle-bus", "kapelle-proto", ""),
            ("kapelle-proto", "prost", ""),
            ("kapelle-bus", "tokio", ""),
            ("kapelle-coordinator", "kapelle-store", ""),
            ("kapelle-coordinator", "axum", ""),
            ("kapelle-worker", "kapelle-git", ""),
            ("kapelle-cli", "kapelle-store", ""),
            ("kapelle-cli", "reqwest", ""),
            ("kapelle-tests", "kapelle-store", ""),
            ("kapelle-tests", "reqwest", ""),
            ("xtask", "clap", ""),
            ("kapelle-domain", "serde", ""),
            ("kapelle-domain", "tokio", "dev"),
            ("kapelle-git", "kapelle-domain", "dev"),
        ] {
            assert_eq!(edge(package, dependency, kind), [""; 0], "{package} -> {dependency}");
        }
    }

    #[test]
    fn every_other_edge_is_reported_once_with_its_rule() {
        for (package, dependency, kind, rule) in [
            ("kapelle-worker", "kapelle-store", "", "it may depend on kapelle-bus, kapelle-domain"),
            ("kapelle-domain", "kapelle-bus", "", "it may depend on no other member"),
            ("kapelle-runtime", "kapelle-domain", "", "it may depend on no other member"),
            ("kapelle-git", "kapelle-domain", "build", "it may depend on no other member"),
            ("xtask", "kapelle-domain", "", "it may depend on no other member"),
            ("kapelle-store", "kapelle-bus", "", "it may depend on kapelle-domain only"),
            ("kapelle-cli", "kapelle-proto", "", "wire types stop at the bus"),
            ("kapelle-domain", "tokio", "", "the domain is synchronous"),
            ("kapelle-domain", "sqlx", "", "only kapelle-store speaks SQL"),
            ("kapelle-coordinator", "sqlx", "", "only kapelle-store speaks SQL"),
            ("kapelle-worker", "async-nats", "", "only kapelle-bus talks to NATS"),
            ("kapelle-store", "prost", "", "wire types stop at the bus"),
            ("kapelle-cli", "axum", "", "only kapelle-coordinator serves HTTP"),
            ("kapelle-coordinator", "reqwest", "", "only kapelle-cli is an HTTP client"),
            ("kapelle-runtime", "clap", "", "only programs parse arguments"),
        ] {
            let found = edge(package, dependency, kind);
            let [line] = found.as_slice() else { panic!("{package} -> {dependency}: {found:?}") };
            assert!(line.contains(&format!("{package} depends on {dependency}; ")), "{line}");
            assert!(line.contains(rule), "{line}");
        }
    }

    #[test]
    fn a_member_without_a_layer_is_reported_and_still_checked() {
        let found = check(&members(&[("kapelle-new", &[("sqlx", "")])]));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("kapelle-new: no layer"), "{found:?}");
        assert!(found[1].contains("only kapelle-store speaks SQL"), "{found:?}");
    }

    #[test]
    fn every_row_names_a_member_of_this_workspace() {
        let workspace = Workspace::load().unwrap();
        for layer in super::LAYERS {
            workspace.package(layer.package).unwrap();
        }
    }
}
