//! Configuration: flags over environment over file over defaults.
//!
//! The flags of a binary (a clap struct whose options are all strings) are the only list of its
//! settings: their names are the keys of the file, their `env` the environment variables. A bad
//! value is an error that names the setting *and where the value came from*; a key in the file that
//! no flag has is an error too.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

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
        let matches = command.get_matches();
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
            .extract()
            .map_err(|error| ConfigError::Value(Box::new(error)))
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
        let typed = |text: &str| text.parse::<Value>().unwrap_or_else(|never| match never {});
        let values = self
            .values
            .iter()
            .map(|(key, text)| (key.clone(), typed(text)));
        Ok(Profile::Default.collect(values.collect()))
    }
}

/// For a setting that is text even where it looks like a number.
pub fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Text {
        Text(String),
        Whole(i128),
        Fraction(f64),
        Flag(bool),
    }
    Ok(match serde::Deserialize::deserialize(deserializer)? {
        Text::Text(text) => text,
        Text::Whole(number) => number.to_string(),
        Text::Fraction(number) => number.to_string(),
        Text::Flag(flag) => flag.to_string(),
    })
}
