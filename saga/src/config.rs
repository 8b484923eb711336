//! Configuration: flags over environment over file over defaults.
//!
//! The flags of a binary (a clap struct whose options are all strings) are the only list of its
//! settings: their names are the keys of the file, their `env` the environment variables. A bad
//! value is an error that names the setting *and where the value came from*; a key in the file that
//! no flag has is an error too.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

use crate::failure::chain;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {path:?} cannot be read")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{key:?} in {path:?} is no setting of this program; it has: {known}")]
    UnknownKey {
        key: String,
        path: PathBuf,
        known: String,
    },
    #[error("{0}")]
    Value(Box<figment::Error>),
}

/// The settings of one process, still untyped.
#[derive(Debug)]
pub struct Settings(Figment);

impl Settings {
    /// Reads the flags and the environment; prints help or a usage error and exits where clap does.
    /// The option `config`, if the command has it, names a TOML file.
    pub fn read(command: Command) -> Result<Self, ConfigError> {
        Self::read_from(command, std::env::args_os().collect())
    }

    pub(crate) fn read_from(command: Command, args: Vec<OsString>) -> Result<Self, ConfigError> {
        let keys: Vec<String> = command
            .get_arguments()
            .map(|arg| arg.get_id().to_string())
            .collect();
        let variables = |key: &str| {
            let arg = command.get_arguments().find(|arg| arg.get_id() == key);
            arg.and_then(|arg| arg.get_env())
                .map(|env| env.to_string_lossy().into_owned())
        };
        let environment_names: Map<String, String> = keys
            .iter()
            .filter_map(|key| Some((key.clone(), variables(key)?)))
            .collect();
        let matches = command.get_matches_from(args);
        Self::layer(&matches, &keys, environment_names)
    }

    fn layer(
        matches: &ArgMatches,
        keys: &[String],
        environment_names: Map<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = matches.get_one::<String>("config") {
            figment = figment.merge(file(PathBuf::from(path), keys)?);
        }
        let from = |source| {
            keys.iter()
                .filter_map(move |key| given(matches, key, source))
                .collect()
        };
        let environment = Layer {
            source: "environment variable",
            values: from(ValueSource::EnvVariable),
            names: environment_names,
        };
        let flags = keys
            .iter()
            .map(|key| (key.clone(), format!("--{}", key.replace('_', "-"))));
        let flags = Layer {
            source: "command line flag",
            values: from(ValueSource::CommandLine),
            names: flags.collect(),
        };
        Ok(Self(figment.merge(environment).merge(flags)))
    }

    /// The settings of one kind; several kinds may be taken from the same settings.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.0
            // Flags and variables are text; whoever asks for a number gets what it says.
            .extract_lossy()
            .map_err(|error| ConfigError::Value(Box::new(error)))
    }

    /// One setting by its name, for a binary that has a setting for each thing of a list.
    pub fn find<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        if !self.0.contains(key) {
            return Ok(None);
        }
        let found = self.0.extract_inner_lossy(key);
        found.map(Some).map_err(|mut error: figment::Error| {
            // Unlike the error of a whole extraction, this one does not know where it comes from.
            error.metadata = self.0.find_metadata(key).cloned();
            error.profile = Some(Profile::Default);
            ConfigError::Value(Box::new(error))
        })
    }
}

fn given(matches: &ArgMatches, key: &str, source: ValueSource) -> Option<(String, String)> {
    if matches.value_source(key) != Some(source) {
        return None;
    }
    let value = matches.try_get_one::<String>(key).ok().flatten()?;
    Some((key.to_owned(), value.clone()))
}

fn file(path: PathBuf, known: &[String]) -> Result<Figment, ConfigError> {
    let read = std::fs::read_to_string(&path);
    let text = read.map_err(|source| ConfigError::File {
        path: path.clone(),
        source,
    })?;
    let file = Figment::from(Toml::string(&text));
    let keys: Dict = file.extract().map_err(|error| {
        ConfigError::Value(Box::new(error.with_path(&path.display().to_string())))
    })?;
    match keys.keys().find(|key| !known.contains(key)) {
        Some(key) => {
            let known = known
                .iter()
                .filter(|key| *key != "help")
                .cloned()
                .collect::<Vec<_>>();
            Err(ConfigError::UnknownKey {
                key: key.clone(),
                path,
                known: known.join(", "),
            })
        }
        None => Ok(Figment::from(Toml::file_exact(&path))),
    }
}

/// One layer of settings, with the name its user knows each by.
struct Layer {
    source: &'static str,
    values: Vec<(String, String)>,
    names: Map<String, String>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let names = self.names.clone();
        Metadata::named(self.source).interpolater(move |_, keys| {
            let key = keys.join(".");
            names.get(&key).cloned().unwrap_or(key)
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        // As it was written: 1.10 is no fraction to who calls a namespace so.
        let values = self.values.iter();
        let values = values.map(|(key, text)| (key.clone(), Value::from(text.as_str())));
        Ok(Profile::Default.collect(values.collect()))
    }
}

/// For a setting that is text even where it looks like a number in the file.
pub fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Scalar {
        Text(String),
        Whole(i128),
        Fraction(f64),
        Flag(bool),
    }
    Ok(match serde::Deserialize::deserialize(deserializer)? {
        Scalar::Text(text) => text,
        Scalar::Whole(number) => number.to_string(),
        Scalar::Fraction(number) => number.to_string(),
        Scalar::Flag(flag) => flag.to_string(),
    })
}

/// For a setting like `500ms` or `10s`.
pub fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = text(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration like 500ms or 10s ({error})"
        ))
    })
}

/// For a text that not every text will do for: the error names the setting and its source.
pub fn checked<'de, D: serde::Deserializer<'de>, E: std::error::Error + 'static>(
    deserializer: D,
    check: impl FnOnce(&str) -> Result<(), E>,
) -> Result<String, D::Error> {
    let text = text(deserializer)?;
    match check(&text) {
        Ok(()) => Ok(text),
        Err(error) => Err(serde::de::Error::custom(chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command};
    use serde::Deserialize;

    use super::*;

    #[derive(Args)]
    struct Flags {
        #[arg(long, env = "CONFIG_TEST_LIMIT")]
        limit: Option<String>,
        #[arg(long, env = "CONFIG_TEST_NAME")]
        name: Option<String>,
        #[arg(long)]
        folder: Option<String>,
        #[arg(long)]
        config: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    struct Config {
        limit: u16,
        #[serde(deserialize_with = "text")]
        name: String,
        folder: Option<PathBuf>,
    }

    fn read(args: &[&str]) -> Result<Config, ConfigError> {
        let command = Flags::augment_args(Command::new("test"));
        let args = std::iter::once("test").chain(args.iter().copied());
        Settings::read_from(command, args.map(Into::into).collect())?.get()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let file = file("limit = 1\nname = \"from the file\"");
        let path = file.path().display().to_string();
        let config = read(&["--config", &path, "--limit", "2"]).unwrap();
        assert_eq!((config.limit, config.name.as_str()), (2, "from the file"));
    }

    #[test]
    fn a_bad_value_is_named_with_its_setting_and_its_source() {
        let error = read(&["--limit", "many", "--name", "x"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--limit") && error.contains("command line flag"),
            "{error}"
        );
        let file = file("limit = \"many\"\nname = \"x\"");
        let path = file.path().display().to_string();
        let error = read(&["--config", &path]).unwrap_err().to_string();
        assert!(error.contains("limit") && error.contains(&path), "{error}");
    }

    #[test]
    fn a_missing_setting_is_named() {
        let error = read(&["--limit", "1"]).unwrap_err().to_string();
        assert!(error.contains("name"), "{error}");
    }

    #[test]
    fn a_key_that_is_no_setting_is_an_error() {
        let file = file("limits = 1");
        let path = file.path().display().to_string();
        let error = read(&["--config", &path]).unwrap_err().to_string();
        assert!(
            error.contains("\"limits\"") && error.contains("limit, name"),
            "{error}"
        );
    }

    #[test]
    fn a_text_may_look_like_a_number() {
        for name in ["2026", "2026.10", "1.10", "007", "true", "[a]", "1e3", ""] {
            let config = read(&["--limit", "1", "--name", name]).unwrap();
            assert_eq!((config.limit, config.name.as_str()), (1, name));
        }
        let file = file("limit = 1\nname = 2026\nfolder = \"8\"");
        let path = file.path().display().to_string();
        let config = read(&["--config", &path]).unwrap();
        assert_eq!(config.name, "2026");
        let config = read(&["--config", &path, "--folder", "7"]).unwrap();
        assert_eq!(config.folder, Some("7".into()));
    }
}
