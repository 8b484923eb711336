//! Who calls, and what that allows. Pure: everything that may be done by some callers and not by
//! others is asked of [`Rights`].

use std::sync::Arc;

use events::UserId;

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The `sub` of the token; empty without authentication, where all callers are the same one.
    pub(crate) subject: Arc<str>,
    pub(crate) rights: Rights,
}

/// Whose data a caller may see and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everybody's: an operator, or anybody where callers are not told apart.
    All,
    Only(UserId),
    /// A caller who is neither a user nor an operator.
    None,
}

/// The data is another user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign;

impl Caller {
    /// Where callers are not told apart.
    pub(crate) fn anybody() -> Self {
        Self {
            subject: Arc::default(),
            rights: Rights::All,
        }
    }

    /// The bearer of a good token. Only a subject that is written as a user's id is that user, so
    /// that no two subjects are the same one.
    pub(crate) fn known(subject: &str, is_operator: bool) -> Self {
        let user = subject.parse().ok().map(UserId);
        let user = user.filter(|UserId(number)| number.to_string() == subject);
        Self {
            subject: subject.into(),
            rights: match (is_operator, user) {
                (true, _) => Rights::All,
                (false, Some(user)) => Rights::Only(user),
                (false, None) => Rights::None,
            },
        }
    }
}

impl Rights {
    /// Whether the data of this owner may be seen and changed; `None`: it is not known whose it is.
    pub(crate) fn cover(self, owner: Option<UserId>) -> bool {
        match self {
            Self::All => true,
            Self::Only(user) => owner == Some(user),
            Self::None => false,
        }
    }

    /// May it act for this user?
    pub(crate) fn act_for(self, user: UserId) -> Result<(), Foreign> {
        self.cover(Some(user)).then_some(()).ok_or(Foreign)
    }

    /// Whose data a list shows, given whose was asked for; `None` is everybody's.
    pub(crate) fn list(self, asked: Option<UserId>) -> Result<Option<UserId>, Foreign> {
        match (self, asked) {
            (Self::All, asked) => Ok(asked),
            (Self::Only(user), None) => Ok(Some(user)),
            (_, Some(asked)) => self.act_for(asked).map(|()| Some(asked)),
            (Self::None, None) => Err(Foreign),
        }
    }

    /// The one user whose data it is about, if there is just one.
    pub(crate) fn user(self) -> Option<UserId> {
        match self {
            Self::Only(user) => Some(user),
            Self::All | Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: UserId = UserId(7);
    const OTHER: UserId = UserId(8);

    fn rights(subject: &str, is_operator: bool) -> Rights {
        Caller::known(subject, is_operator).rights
    }

    #[test]
    fn a_subject_is_the_user_whose_id_it_is_and_nobody_else() {
        assert_eq!(rights("7", false), Rights::Only(OWN));
        let largest = Rights::Only(UserId(u64::MAX));
        assert_eq!(rights("18446744073709551615", false), largest);
        for no_user in [
            "07",
            "+7",
            " 7",
            "7.0",
            "-7",
            "seven",
            "18446744073709551616",
        ] {
            assert_eq!(rights(no_user, false), Rights::None, "{no_user:?}");
        }
        assert_eq!(rights("7", true), Rights::All);
        assert_eq!(rights("back-office", true), Rights::All);
        assert_eq!(Caller::anybody().rights, Rights::All);
    }

    #[test]
    fn a_user_acts_for_itself_an_operator_for_everybody_and_a_stranger_for_nobody() {
        let cases = [
            (Rights::Only(OWN), OWN, true),
            (Rights::Only(OWN), OTHER, false),
            (Rights::All, OTHER, true),
            (Rights::None, OWN, false),
        ];
        for (rights, user, may) in cases {
            assert_eq!(rights.act_for(user).is_ok(), may, "{rights:?} {user:?}");
            assert_eq!(rights.cover(Some(user)), may, "{rights:?} {user:?}");
        }
    }

    #[test]
    fn what_is_nobodys_is_for_operators() {
        assert!(Rights::All.cover(None));
        assert!(!Rights::Only(OWN).cover(None));
        assert!(!Rights::None.cover(None));
    }

    #[test]
    fn a_list_shows_a_user_its_own_and_refuses_anothers() {
        let cases = [
            (Rights::Only(OWN), None, Ok(Some(OWN))),
            (Rights::Only(OWN), Some(OWN), Ok(Some(OWN))),
            (Rights::Only(OWN), Some(OTHER), Err(Foreign)),
            (Rights::All, None, Ok(None)),
            (Rights::All, Some(OTHER), Ok(Some(OTHER))),
            (Rights::None, None, Err(Foreign)),
            (Rights::None, Some(OWN), Err(Foreign)),
        ];
        for (rights, asked, shown) in cases {
            assert_eq!(rights.list(asked), shown, "{rights:?} {asked:?}");
        }
    }
}
