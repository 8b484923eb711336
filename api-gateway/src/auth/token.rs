//! A bearer token: signed by a key that is known, of the issuer and for the audience that are
//! wanted, and not over. A key is for one algorithm, so a token cannot choose how it is checked.

use std::collections::HashSet;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::caller::Caller;
use super::keys::Key;

/// What makes its bearer an operator, as a word of the token's `scope`.
pub(crate) const OPERATOR: &str = "operator";
/// Seconds. Clocks differ, and a token may be on its way for a moment.
const LEEWAY: u64 = 30;

/// What a token must claim, beside being signed and not over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
}

/// Why a token is not taken; what its caller is told is among the texts of `http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// No JWT, or signed in a way that is not taken.
    Malformed,
    UnknownKey,
    Signature,
    Expired,
    TooEarly,
    Audience,
    Issuer,
    /// It lacks one that is needed, or has it in another form.
    Claims,
    /// It needs extensions that are not known here.
    Critical,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Other forms than the words that OAuth has give no rights.
    #[serde(default)]
    scope: Value,
}

/// Whose token it is.
pub(super) fn check(token: &str, keys: &[&Key], wanted: &Wanted) -> Result<Caller, BadToken> {
    let header = decode_header(token).map_err(|_| BadToken::Malformed)?;
    if header.crit.is_some() {
        return Err(BadToken::Critical);
    }
    let mut problem = BadToken::UnknownKey;
    for key in keys.iter().filter(|key| may_have_signed(key, &header)) {
        match decode::<Claims>(token, &key.key, &validation(key, wanted)) {
            Ok(found) if found.claims.sub.is_empty() => return Err(BadToken::Claims),
            Ok(found) => return Ok(caller(&found.claims)),
            Err(error) => problem = reason(&error),
        }
        // Another key with the same name, or none, may be the one.
        if problem != BadToken::Signature {
            break;
        }
    }
    Err(problem)
}

fn may_have_signed(key: &Key, header: &Header) -> bool {
    let same_name = match (&key.name, &header.kid) {
        (Some(name), Some(wanted)) => name == wanted,
        _ => true,
    };
    same_name && key.algorithm == header.alg
}

fn validation(key: &Key, wanted: &Wanted) -> Validation {
    let mut validation = Validation::new(key.algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    let mut required: HashSet<String> = ["exp", "sub"].map(str::to_owned).into();
    if let Some(issuer) = &wanted.issuer {
        validation.set_issuer(&[issuer]);
        required.insert("iss".to_owned());
    }
    // A token that names an audience is for nobody else, whether one is wanted here or not.
    if let Some(audience) = &wanted.audience {
        validation.set_audience(&[audience]);
        required.insert("aud".to_owned());
    }
    validation.required_spec_claims = required;
    validation
}

fn caller(Claims { sub, scope }: &Claims) -> Caller {
    let mut words = scope.as_str().unwrap_or_default().split(' ');
    Caller::known(sub, words.any(|word| word == OPERATOR))
}

fn reason(error: &Error) -> BadToken {
    match error.kind() {
        ErrorKind::InvalidSignature => BadToken::Signature,
        ErrorKind::ExpiredSignature => BadToken::Expired,
        ErrorKind::ImmatureSignature => BadToken::TooEarly,
        ErrorKind::InvalidAudience => BadToken::Audience,
        ErrorKind::InvalidIssuer => BadToken::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => BadToken::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => BadToken::Issuer,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => BadToken::Claims,
        ErrorKind::Json(_) => BadToken::Claims,
        _ => BadToken::Malformed,
    }
}
