//! Rights as the engine itself enforces them: two roles in a configuration that is written into the folder at
//! every start. Each connection starts with all rights and gives up what its user does not have (`SET ROLE`), before
//! any text of the user reaches it.
//!
//! The engine has no `CREATE USER` here: who asks is decided by [`crate::users`], and mapped to one of these roles.

use std::path::{Path, PathBuf};

use crate::folder::FolderError;
use crate::users::Right;

const CONFIG: &str = "weir-chdb-engine.xml";
const USERS: &str = "weir-chdb-rights.xml";

/// What the engine is told besides its folder. Rights are in a file of their own, since it reads them so.
fn config(rights: &Path) -> String {
    format!("<clickhouse>\n    <users_config>{}</users_config>\n</clickhouse>\n", escape(&rights.to_string_lossy()))
}

/// A reader has no right on any source outside the databases (`FILE`, `URL`, `REMOTE`, `S3`, …), none to write, and
/// none to see users.
const RIGHTS: &str = "<clickhouse>
    <profiles><default></default></profiles>
    <quotas><default></default></quotas>
    <roles>
        <full><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></full>
        <readonly><grants><query>GRANT SELECT, SHOW, dictGet ON *.*</query></grants></readonly>
    </roles>
    <users>
        <default>
            <password></password>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants><query>GRANT full</query><query>GRANT readonly</query></grants>
        </default>
    </users>
</clickhouse>
";

/// Writes the configuration into `folder`, and gives the path that the engine is to be told.
///
/// # Errors
/// The folder cannot be written.
pub fn write(folder: &Path) -> Result<PathBuf, FolderError> {
    let access = |source| FolderError::Access { path: folder.to_owned(), source };
    let (path, rights) = (folder.join(CONFIG), folder.join(USERS));
    std::fs::write(&rights, RIGHTS).map_err(access)?;
    std::fs::write(&path, config(&rights)).map_err(access)?;
    Ok(path)
}

impl Right {
    /// The engine's role for it.
    pub fn role(self) -> &'static str {
        match self {
            Right::Full => "full",
            Right::ReadOnly => "readonly",
        }
    }

    /// The right that a role gives, if there is such a role.
    pub fn of_role(role: &str) -> Option<Right> {
        [Right::Full, Right::ReadOnly].into_iter().find(|right| right.role() == role)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_text() {
        assert!(config(Path::new("/a<b&c")).contains("<users_config>/a&lt;b&amp;c</users_config>"));
        assert_eq!(Right::of_role("readonly"), Some(Right::ReadOnly));
        assert_eq!(Right::of_role("admin"), None);
    }
}
