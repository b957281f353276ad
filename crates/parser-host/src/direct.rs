//! A connection whose parser runs on the caller's thread.

use std::sync::{Arc, Mutex};

use cilium_embed_abi::Class;
use cilium_l7::{ConnectionInfo, Log, Policy, Protocol};

use crate::core::{New, Open, Refusal};
use crate::lock;
use crate::protocol::GuestProtocol;
use crate::session::Effect;

/// For tests of parsers: what a [`Session`](crate::Session) does, at once. Nothing bounds the time of a call.
pub struct Direct {
    open: Open,
    protocol: Arc<GuestProtocol>,
    policy: Arc<Mutex<BoxedPolicy>>,
}

type BoxedPolicy = Box<dyn Policy + Send>;

/// Makes the policy that judges messages of the protocol, or says what is wrong with it.
pub type TryPolicy<'p> = dyn FnOnce(&dyn Protocol) -> Result<BoxedPolicy, String> + 'p;

impl Direct {
    /// Has the parser of a new connection made. The reason why not may have further lines.
    pub fn new(
        name: &str,
        class: Class,
        info: ConnectionInfo,
        policy: Box<TryPolicy<'_>>,
        log: Box<dyn Log + Send>,
    ) -> Result<Self, String> {
        let protocol = Arc::new(GuestProtocol::new(&name.into(), class));
        let policy = Arc::new(Mutex::new(policy(&*protocol)?));
        let asked = Arc::clone(&policy);
        let ask = move |request: &cilium_l7::Request<'_>| lock(&asked).decide(request);
        let new = New { info, policy: Box::new(|_| Box::new(ask)), log };
        Ok(Self { open: Open::new(new, name, Arc::clone(&protocol))?, protocol, policy })
    }

    /// Puts another policy in force.
    pub fn set_policy(&self, policy: Box<TryPolicy<'_>>) -> Result<(), String> {
        *lock(&self.policy) = policy(&*self.protocol)?;
        Ok(())
    }

    /// Takes bytes of a direction; what is to be sent on.
    pub fn feed(&mut self, reply: bool, end: bool, data: Vec<u8>) -> Result<Vec<Effect>, Refusal> {
        Ok(self.open.feed(reply, end, data)?.collect())
    }
}
