//! Capabilities: which the process has, which feature needs which, and how to grant what is missing.

use std::fmt;

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

/// A thread's effective capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(CapabilitySet);

/// What the proxy does with privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Marks on sockets, by which Cilium's datapath knows the proxy's connections and their identities.
    Marks,
    /// Upstream connections from the client's own address, and listeners that TPROXY redirects to.
    SourceAddresses,
    /// Cilium's ipcache and conntrack maps.
    BpfMaps,
}

/// What every Cilium node needs of the supervisor.
pub const BEHIND_AN_AGENT: [Feature; 3] = [Feature::Marks, Feature::SourceAddresses, Feature::BpfMaps];

struct Need {
    what: &'static str,
    /// One of these is enough; the first is the narrowest, and the one to grant.
    any_of: &'static [(CapabilitySet, &'static str)],
}

impl Feature {
    fn need(self) -> Need {
        match self {
            Feature::Marks => {
                Need { what: "marks on sockets (SO_MARK)", any_of: &[(CapabilitySet::NET_ADMIN, "NET_ADMIN")] }
            }
            Feature::SourceAddresses => Need {
                what: "original source addresses and TPROXY listeners (IP_TRANSPARENT)",
                any_of: &[(CapabilitySet::NET_ADMIN, "NET_ADMIN"), (CapabilitySet::NET_RAW, "NET_RAW")],
            },
            Feature::BpfMaps => Need {
                what: "Cilium's BPF maps (ipcache, conntrack)",
                any_of: &[(CapabilitySet::BPF, "BPF"), (CapabilitySet::SYS_ADMIN, "SYS_ADMIN")],
            },
        }
    }
}

/// A feature without its capability. Displayed, it names the settings that grant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing(Feature);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let need = self.0.need();
        let [(_, grant), others @ ..] = need.any_of else { return Ok(()) };
        write!(formatter, "CAP_{grant}")?;
        for (_, other) in others {
            write!(formatter, " or CAP_{other}")?;
        }
        write!(
            formatter,
            " is missing, which {} need; grant it with securityContext.capabilities.add: [{grant}] (Kubernetes; in \
             Cilium's chart envoy.securityContext.capabilities.envoy), AmbientCapabilities=CAP_{grant} (systemd) or \
             --cap-add {grant} (containers)",
            need.what
        )
    }
}

impl Capabilities {
    /// The calling thread's.
    pub fn of_this_thread() -> Result<Self, Errno> {
        Ok(Capabilities(rustix::thread::capabilities(None)?.effective))
    }

    /// Whether this feature will work.
    #[must_use]
    pub fn allow(self, feature: Feature) -> bool {
        feature.need().any_of.iter().any(|(capability, _)| self.0.contains(*capability))
    }

    /// Those of the features that will not work.
    #[must_use]
    pub fn missing(self, features: &[Feature]) -> Vec<Missing> {
        features.iter().filter(|feature| !self.allow(**feature)).map(|feature| Missing(*feature)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_admin_stands_in_for_bpf_and_is_not_what_is_asked_for() {
        let with_sys_admin = Capabilities(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN);
        assert_eq!(with_sys_admin.missing(&BEHIND_AN_AGENT), []);
        let [missing] = Capabilities(CapabilitySet::NET_ADMIN).missing(&BEHIND_AN_AGENT)[..] else {
            panic!("one feature lacks its capability")
        };
        assert_eq!(
            missing.to_string(),
            "CAP_BPF or CAP_SYS_ADMIN is missing, which Cilium's BPF maps (ipcache, conntrack) need; grant it with \
             securityContext.capabilities.add: [BPF] (Kubernetes; in Cilium's chart \
             envoy.securityContext.capabilities.envoy), AmbientCapabilities=CAP_BPF (systemd) or --cap-add BPF \
             (containers)"
        );
    }

    #[test]
    fn without_capabilities_every_feature_is_missing() {
        let missing = Capabilities(CapabilitySet::empty()).missing(&BEHIND_AN_AGENT);
        assert_eq!(missing.iter().map(|missing| missing.0).collect::<Vec<_>>(), BEHIND_AN_AGENT);
        assert!(!Capabilities(CapabilitySet::empty()).allow(Feature::BpfMaps));
    }

    #[test]
    fn the_thread_s_capabilities_are_those_of_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let expected = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(Capabilities::of_this_thread().unwrap().0.bits(), expected);
    }
}
