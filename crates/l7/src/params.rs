//! Parameters of the reference's parser library, as `cilium.NetworkFilter` has them.

use std::collections::HashMap;

use thiserror::Error;

/// What the parameters say. Equal parameters mean the same instance of the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// Socket of the access log; empty: none.
    pub access_log_path: String,
    /// Socket of the policies' source. Policies come through the policy channel, whatever it says.
    pub xds_path: String,
    /// Id towards that source; empty: any.
    pub node_id: String,
}

/// A parameter that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("proxylib_params has the unknown key {0:?}; the keys are access-log-path, xds-path and node-id")]
pub struct UnknownParamError(String);

impl Params {
    /// Takes the parameters, or refuses unknown ones.
    pub fn new(params: &HashMap<String, String>) -> Result<Self, UnknownParamError> {
        let mut known = Self::default();
        let mut names: Vec<_> = params.iter().collect();
        names.sort();
        for (name, value) in names {
            let field = match name.as_str() {
                "access-log-path" => &mut known.access_log_path,
                "xds-path" => &mut known.xds_path,
                "node-id" => &mut known.node_id,
                _ => return Err(UnknownParamError(name.clone())),
            };
            value.clone_into(field);
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn known_parameters_are_taken() {
        let taken = Params::new(&params(&[("access-log-path", "/a"), ("xds-path", "/x"), ("node-id", "n")]));
        let expected = Params { access_log_path: "/a".into(), xds_path: "/x".into(), node_id: "n".into() };
        assert_eq!(taken, Ok(expected));
    }

    #[test]
    fn unknown_parameters_are_refused_by_name() {
        let error = Params::new(&params(&[("zzz", ""), ("node-id", "n")])).unwrap_err();
        assert!(error.to_string().contains("\"zzz\""), "{error}");
    }
}
