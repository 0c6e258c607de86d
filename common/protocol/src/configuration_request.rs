//! What operators ask of a node's configuration, and the answers. No secret is in any of them: keys
//! of certificates are named by their files.

use crate::configuration::bounded;
use crate::error::ProtocolError;
use crate::limits::{SETTING_BYTES_MAX, SETTINGS_MAX};
use crate::wire::client as pb;

/// What is asked of a node's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationRequest {
    /// What is in force, and where each value comes from.
    Show,
    /// Read the files again, and take what a running node can take.
    Reload,
    /// Read the files, take nothing, and tell what a reload would do.
    Check,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigurationAnswer {
    /// This is in force.
    Shown {
        /// The main file.
        file: String,
        /// All settings.
        settings: Vec<Setting>,
        /// Why the configuration that was read last is not in force; empty if it is.
        refused: String,
    },
    /// The configuration was read again; where that was only looked at, nothing was taken.
    Reloaded(Reloaded),
}

/// A setting of a running node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its dotted name.
    pub name: String,
    /// Its value, as TOML has it.
    pub value: String,
    /// Where the value comes from.
    pub source: SettingSource,
    /// Whether a running node takes another value when it reads its configuration again.
    pub is_live: bool,
    /// What was read again and takes a restart: the value, and where it stands.
    pub next: Option<(String, String)>,
}

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// Nobody has set it.
    Default,
    /// A file and a line.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

/// What became of a configuration that was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The main file.
    pub file: String,
    /// Why all of it was refused, and everything stays as it was; empty if it was not.
    pub refused: String,
    /// What has changed now.
    pub changed: Vec<SettingChange>,
    /// What differs from what is in force, and takes a restart.
    pub waiting: Vec<SettingChange>,
    /// What became of the certificates: a reload reads them in any case.
    pub certificates: CertificatesRead,
}

/// A setting that is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// Its dotted name.
    pub name: String,
    /// What it was; empty if it was not there.
    pub before: String,
    /// What it is, or would be; empty if it is not there any more.
    pub after: String,
}

/// What became of certificates that were read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificatesRead {
    /// Nobody has looked at them.
    Unread,
    /// They are the same, and end then, in seconds since 1970.
    Unchanged(i64),
    /// New connections use others, which end then.
    Replaced(i64),
    /// Those in use stay; the reason.
    Refused(String),
}

impl ConfigurationRequest {
    pub(crate) fn to_wire(self) -> pb::ConfigurationRequest {
        use pb::configuration_request::Body;
        let body = match self {
            Self::Show => Body::Show(true),
            Self::Reload => Body::Reload(true),
            Self::Check => Body::Check(true),
        };
        pb::ConfigurationRequest { body: Some(body) }
    }

    pub(crate) fn from_wire(request: pb::ConfigurationRequest) -> Result<Self, ProtocolError> {
        use pb::configuration_request::Body;
        let what = "a request about a configuration";
        Ok(match request.body.ok_or(ProtocolError::Missing { what })? {
            Body::Show(_) => Self::Show,
            Body::Reload(_) => Self::Reload,
            Body::Check(_) => Self::Check,
        })
    }
}

impl ConfigurationAnswer {
    /// Returns how many bytes of texts are in it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Shown { file, settings, refused } => {
                let of = |setting: &Setting| {
                    let next =
                        setting.next.as_ref().map_or(0, |(value, place)| value.len() + place.len());
                    setting.name.len() + setting.value.len() + setting.source.place().len() + next
                };
                file.len() + refused.len() + settings.iter().map(of).sum::<usize>()
            }
            Self::Reloaded(Reloaded { file, refused, changed, waiting, .. }) => {
                let of = |it: &SettingChange| it.name.len() + it.before.len() + it.after.len();
                let changes: usize = changed.iter().chain(waiting).map(of).sum();
                file.len() + refused.len() + changes
            }
        }
    }

    pub(crate) fn to_wire(&self) -> pb::ConfigurationAnswer {
        use pb::configuration_answer::Body;
        let body = match self {
            Self::Shown { file, settings, refused } => Body::Shown(pb::ConfigurationShown {
                file: file.clone(),
                settings: settings.iter().map(Setting::to_wire).collect(),
                refused: refused.clone(),
            }),
            Self::Reloaded(reloaded) => Body::Reloaded(reloaded.to_wire()),
        };
        pb::ConfigurationAnswer { body: Some(body) }
    }

    pub(crate) fn from_wire(answer: pb::ConfigurationAnswer) -> Result<Self, ProtocolError> {
        use pb::configuration_answer::Body;
        let what = "an answer about a configuration";
        Ok(match answer.body.ok_or(ProtocolError::Missing { what })? {
            Body::Shown(pb::ConfigurationShown { file, settings, refused }) => {
                bounded("settings", settings.len(), SETTINGS_MAX)?;
                let settings = settings.into_iter().map(Setting::from_wire);
                let settings = settings.collect::<Result<_, _>>()?;
                Self::Shown { file: text(file)?, settings, refused: text(refused)? }
            }
            Body::Reloaded(reloaded) => Self::Reloaded(Reloaded::from_wire(reloaded)?),
        })
    }
}

impl SettingSource {
    /// Returns the file and the line, the variable or the flag; empty for a default.
    pub fn place(&self) -> &str {
        match self {
            Self::Default => "",
            Self::File(place) | Self::Environment(place) | Self::Flag(place) => place,
        }
    }

    fn code(&self) -> u32 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }

    fn of(code: u32, place: String) -> Result<Self, ProtocolError> {
        Ok(match code {
            0 => Self::Default,
            1 => Self::File(place),
            2 => Self::Environment(place),
            3 => Self::Flag(place),
            other => return Err(unknown("the source of a setting", other)),
        })
    }
}

impl Setting {
    fn to_wire(&self) -> pb::Setting {
        let (next_value, next_place) = self.next.clone().unzip();
        pb::Setting {
            name: self.name.clone(),
            value: self.value.clone(),
            source: self.source.code(),
            place: self.source.place().to_owned(),
            live: self.is_live,
            next_value,
            next_place: next_place.unwrap_or_default(),
        }
    }

    fn from_wire(setting: pb::Setting) -> Result<Self, ProtocolError> {
        let next = match setting.next_value {
            Some(value) => Some((text(value)?, text(setting.next_place)?)),
            None => None,
        };
        Ok(Self {
            name: text(setting.name)?,
            value: text(setting.value)?,
            source: SettingSource::of(setting.source, text(setting.place)?)?,
            is_live: setting.live,
            next,
        })
    }
}

impl Reloaded {
    fn to_wire(&self) -> pb::ConfigurationReloaded {
        let (code, until, why) = match &self.certificates {
            CertificatesRead::Unread => (0, 0, ""),
            CertificatesRead::Unchanged(until) => (1, *until, ""),
            CertificatesRead::Replaced(until) => (2, *until, ""),
            CertificatesRead::Refused(why) => (3, 0, why.as_str()),
        };
        pb::ConfigurationReloaded {
            file: self.file.clone(),
            refused: self.refused.clone(),
            changed: self.changed.iter().map(SettingChange::to_wire).collect(),
            waiting: self.waiting.iter().map(SettingChange::to_wire).collect(),
            certificates: code,
            certificates_until_s: until,
            certificates_refused: why.to_owned(),
        }
    }

    fn from_wire(answer: pb::ConfigurationReloaded) -> Result<Self, ProtocolError> {
        let until = answer.certificates_until_s;
        let certificates = match answer.certificates {
            0 => CertificatesRead::Unread,
            1 => CertificatesRead::Unchanged(until),
            2 => CertificatesRead::Replaced(until),
            3 => CertificatesRead::Refused(text(answer.certificates_refused)?),
            other => return Err(unknown("what became of certificates", other)),
        };
        Ok(Self {
            file: text(answer.file)?,
            refused: text(answer.refused)?,
            changed: changes(answer.changed)?,
            waiting: changes(answer.waiting)?,
            certificates,
        })
    }
}

impl SettingChange {
    fn to_wire(&self) -> pb::SettingChange {
        let Self { name, before, after } = self.clone();
        pb::SettingChange { name, before, after }
    }
}

fn changes(list: Vec<pb::SettingChange>) -> Result<Vec<SettingChange>, ProtocolError> {
    bounded("settings", list.len(), SETTINGS_MAX)?;
    let one = |change: pb::SettingChange| {
        let pb::SettingChange { name, before, after } = change;
        Ok(SettingChange { name: text(name)?, before: text(before)?, after: text(after)? })
    };
    list.into_iter().map(one).collect()
}

fn unknown(what: &'static str, found: u32) -> ProtocolError {
    ProtocolError::Unknown { what, found: found.into() }
}

fn text(text: String) -> Result<String, ProtocolError> {
    bounded("a setting", text.len(), SETTING_BYTES_MAX)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            name: "listen".to_owned(),
            value: "\"[::]:7400\"".to_owned(),
            source: SettingSource::File("/etc/raftd/raftd.toml:3".to_owned()),
            is_live: false,
            next: Some(("\"[::]:7402\"".to_owned(), "/etc/raftd/raftd.toml:4".to_owned())),
        }
    }

    fn shown(settings: Vec<Setting>) -> ConfigurationAnswer {
        ConfigurationAnswer::Shown { file: "f".to_owned(), settings, refused: String::new() }
    }

    #[test]
    fn what_is_asked_and_answered_comes_back_as_it_was() {
        for request in
            [ConfigurationRequest::Show, ConfigurationRequest::Reload, ConfigurationRequest::Check]
        {
            assert_eq!(ConfigurationRequest::from_wire(request.to_wire()), Ok(request));
        }
        let sources = [
            SettingSource::Default,
            SettingSource::File("f:1".to_owned()),
            SettingSource::Environment("RAFTD_LISTEN".to_owned()),
            SettingSource::Flag("--listen".to_owned()),
        ];
        let of = |source: SettingSource| Setting { source, next: None, ..setting() };
        let settings = sources.map(of).into_iter().chain([setting()]).collect();
        let change = SettingChange {
            name: "log_level".to_owned(),
            before: "\"info\"".to_owned(),
            after: "\"debug\"".to_owned(),
        };
        let reloaded = |certificates| {
            ConfigurationAnswer::Reloaded(Reloaded {
                file: "f".to_owned(),
                refused: "why".to_owned(),
                changed: vec![change.clone()],
                waiting: vec![change.clone(), change.clone()],
                certificates,
            })
        };
        for answer in [
            shown(settings),
            reloaded(CertificatesRead::Unread),
            reloaded(CertificatesRead::Unchanged(7)),
            reloaded(CertificatesRead::Replaced(8)),
            reloaded(CertificatesRead::Refused("expired".to_owned())),
        ] {
            assert_eq!(ConfigurationAnswer::from_wire(answer.to_wire()), Ok(answer));
        }
    }

    #[test]
    fn what_is_too_much_empty_or_unknown_is_refused() {
        let many = shown(vec![setting(); SETTINGS_MAX + 1]);
        assert!(ConfigurationAnswer::from_wire(many.to_wire()).is_err());
        let long = Setting { value: "x".repeat(SETTING_BYTES_MAX + 1), ..setting() };
        assert!(ConfigurationAnswer::from_wire(shown(vec![long]).to_wire()).is_err());
        assert!(ConfigurationRequest::from_wire(pb::ConfigurationRequest { body: None }).is_err());
        assert!(ConfigurationAnswer::from_wire(pb::ConfigurationAnswer { body: None }).is_err());
        let odd = pb::Setting { source: 4, ..setting().to_wire() };
        assert!(Setting::from_wire(odd).is_err());
        let odd = pb::ConfigurationReloaded { certificates: 4, ..Default::default() };
        assert!(Reloaded::from_wire(odd).is_err());
    }
}
