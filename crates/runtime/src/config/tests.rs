use super::*;

mod bad_input;
mod layers;
mod schema_and_template;
mod values;

/// A project in a directory of its own, with a user and an environment.
struct Sandbox {
    directory: tempfile::TempDir,
    options: LoadOptions,
}

impl Sandbox {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = LoadOptions {
            project_root: directory.path().join("project"),
            user_config_dir: Some(directory.path().join("user")),
            ..LoadOptions::default()
        };
        std::fs::create_dir(&options.project_root).expect("create");
        std::fs::create_dir_all(directory.path().join("user/kapelle")).expect("create");
        Self { directory, options }
    }

    fn project(self, text: impl AsRef<[u8]>) -> Self {
        self.file("project/kapelle.yaml", text)
    }

    fn local(self, text: impl AsRef<[u8]>) -> Self {
        self.file("project/kapelle.local.yaml", text)
    }

    fn user(self, text: impl AsRef<[u8]>) -> Self {
        self.file("user/kapelle/config.yaml", text)
    }

    fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.directory.path().join(path), text).expect("write");
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.options.environment.insert(name.into(), value.into());
        self
    }

    fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        let [flag, key, value] = [flag, key, value].map(str::to_owned);
        self.options.overrides.push(Override { key, value, flag });
        self
    }

    fn load(&self) -> Result<Loaded, Error> {
        Config::load(&self.options)
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{}", error.render())).config
    }

    fn error(&self) -> Error {
        match self.load() {
            Ok(loaded) => panic!("loaded: {:#?}", loaded.config),
            Err(error) => error,
        }
    }
}
