//! What the HTTP filter finds out of a connection, kept for its next requests while `cilium.network` holds a place for it.
//!
//! Both run on the same worker. Finding it by the connection's number is several times cheaper than reading it from
//! Envoy's filter state and addresses again for every request.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use cilium_policy::EndpointPolicy;
use hashbrown::HashMap;

use crate::metadata::Context;

thread_local! {
    static OPEN: RefCell<HashMap<u64, Option<Rc<Known>>, foldhash::fast::RandomState>> = RefCell::default();
}

/// A connection to the destination that the client chose.
pub(crate) struct Known {
    /// Without its names, which are below.
    context: Context<'static>,
    pod: Box<str>,
    ingress_policy: Box<str>,
    pub(crate) destination: SocketAddr,
    /// The same, "ip:port".
    pub(crate) destination_text: Box<str>,
    allowed: RefCell<Option<Allowed>>,
}

/// The last verdict on the connection that allowed it.
struct Allowed {
    /// Weak: it must not keep a policy alive, only its place from being used for another one.
    by: Weak<EndpointPolicy>,
    remote: u32,
    server_name: Box<str>,
}

impl Known {
    pub(crate) fn new(context: &Context<'_>, destination: SocketAddr) -> Self {
        let (pod, ingress_policy) = (context.pod.into(), context.ingress_policy.into());
        Self {
            context: Context { pod: "", ingress_policy: "", ..*context },
            pod,
            ingress_policy,
            destination,
            destination_text: destination.to_string().into(),
            allowed: RefCell::new(None),
        }
    }

    /// Of the connection with that number. What was not kept is made, and kept while the connection has a place.
    pub(crate) fn of<E>(connection: Option<u64>, make: impl FnOnce() -> Result<Self, E>) -> Result<Rc<Self>, E> {
        let kept = connection.and_then(|number| OPEN.with_borrow(|open| open.get(&number).cloned().flatten()));
        if let Some(known) = kept {
            return Ok(known);
        }
        let known = Rc::new(make()?);
        if let Some(number) = connection {
            OPEN.with_borrow_mut(|open| {
                if let Some(place) = open.get_mut(&number) {
                    *place = Some(Rc::clone(&known));
                }
            });
        }
        Ok(known)
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { pod: &self.pod, ingress_policy: &self.ingress_policy, ..self.context }
    }

    /// Asks for the verdict on the connection, unless the same policy gave it before for the same remote and server name;
    /// `Ok`: it is allowed.
    pub(crate) fn allowed<E>(
        &self,
        by: &Arc<EndpointPolicy>,
        remote: u32,
        server_name: &str,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut allowed = self.allowed.borrow_mut();
        let same = |last: &Allowed| {
            std::ptr::eq(last.by.as_ptr(), Arc::as_ptr(by))
                && last.remote == remote
                && *last.server_name == *server_name
        };
        if !allowed.as_ref().is_some_and(same) {
            judge()?;
            *allowed = Some(Allowed { by: Arc::downgrade(by), remote, server_name: server_name.into() });
        }
        Ok(())
    }
}

/// A connection's place for what is found out of it; leaves it when dropped.
pub(crate) struct Place(u64);

impl Place {
    pub(crate) fn new(connection: u64) -> Self {
        OPEN.with_borrow_mut(|open| open.insert(connection, None));
        Self(connection)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A worker that ends has no table any more.
        let _ = OPEN.try_with(|open| open.borrow_mut().remove(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::{Known, Place};
    use crate::metadata::{Context, Metadata};

    fn known() -> Known {
        let metadata = Metadata {
            ingress: true,
            l7lb: false,
            allow_egress: false,
            proxy_id: 7,
            port: 80,
            source_identity: 43,
            ingress_source_identity: 0,
            pod: "10.1.2.3".to_owned(),
            ingress_policy: "ingress".to_owned(),
            destination: None,
            parser: None,
            mark: 0,
            original_source: None,
            source_ipv4: None,
            source_ipv6: None,
        };
        let bytes = Context::encode(&metadata, crate::identities::Source::HOSTS);
        Known::new(&Context::decode(&bytes).unwrap(), "10.1.2.3:80".parse().unwrap())
    }

    #[test]
    fn a_connection_is_found_while_it_has_its_place() {
        let count = Cell::new(0);
        let find = |connection| {
            let make = || {
                count.set(count.get() + 1);
                Ok::<_, ()>(known())
            };
            (Known::of(connection, make).unwrap(), count.get())
        };
        let place = Place::new(5);
        let (found, times) = find(Some(5));
        assert_eq!((found.context().pod, found.context().ingress_policy), ("10.1.2.3", "ingress"));
        assert_eq!((found.context().proxy_id, &*found.destination_text, times), (7, "10.1.2.3:80", 1));
        let (again, times) = find(Some(5));
        assert!(Rc::ptr_eq(&found, &again) && times == 1);
        // Of others nothing is kept.
        assert_eq!([find(None).1, find(Some(6)).1, find(Some(6)).1], [2, 3, 4]);
        assert!(Known::of(Some(7), || Err(())).is_err());
        drop(place);
        assert_eq!(find(Some(5)).1, 5);
    }

    #[test]
    fn a_verdict_is_asked_for_again_when_anything_it_depends_on_has_changed() {
        let snapshot = cilium_policy::PolicyMap::new().snapshot();
        let (deny, allow) = (snapshot.policy("x", false), snapshot.policy("x", true));
        let known = known();
        let asked = Cell::new(0);
        let ask = |by, remote, server_name, allowed| {
            let judge = || {
                asked.set(asked.get() + 1);
                if allowed { Ok(()) } else { Err(()) }
            };
            (known.allowed(by, remote, server_name, judge).is_ok(), asked.get())
        };
        assert_eq!(ask(allow, 43, "a", true), (true, 1));
        assert_eq!(ask(allow, 43, "a", true), (true, 1));
        assert_eq!(ask(allow, 44, "a", true), (true, 2));
        assert_eq!(ask(allow, 44, "b", true), (true, 3));
        assert_eq!(ask(deny, 44, "b", false), (false, 4));
        // What is denied is asked for every time.
        assert_eq!(ask(deny, 44, "b", false), (false, 5));
        assert_eq!(ask(allow, 44, "b", true), (true, 5));
    }
}
