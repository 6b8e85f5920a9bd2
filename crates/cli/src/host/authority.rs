//! The secret of a project's fleet, on disk.

use std::path::Path;

use kapelle_bus::nats::authority::Authority;

use super::Error;
use crate::project::Project;
use crate::secret_file;

/// The secret, if the project has one.
///
/// # Errors
/// When the file can't be read, or holds something else.
pub fn find(project: &Project) -> Result<Option<Authority>, Error> {
    let path = project.authority_file();
    match std::fs::read_to_string(&path) {
        Ok(text) => match Authority::from_seed(&text) {
            Ok(authority) => Ok(Some(authority)),
            Err(error) => Err(Error::Setting(format!("{}: {error}", path.display()))),
        },
        // One that is named must be there.
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && project.config().nats.authority_file.is_none() =>
        {
            Ok(None)
        }
        Err(source) => Err(Error::Directory { path, doing: "read", source }),
    }
}

/// The secret, and whether it was made just now.
///
/// # Errors
/// When it can't be read or made.
pub fn make(project: &Project) -> Result<(Authority, bool), Error> {
    let path = project.authority_file();
    if path.exists()
        && let Some(authority) = find(project)?
    {
        return Ok((authority, false));
    }
    let authority = Authority::generate().map_err(|error| Error::Setting(error.to_string()))?;
    let failed = |source| Error::Directory { path: path.clone(), doing: "written", source };
    super::local::prepare_state(project)?;
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    secret_file::write(&path, &format!("{}\n", authority.seed().reveal())).map_err(failed)?;
    Ok((authority, true))
}
