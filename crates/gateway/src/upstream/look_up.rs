use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use certward_store::Upstream;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::net::lookup_host;

/// The look-ups under way. Connections that want the same name at the same moment share one: when ten thousand devices come
/// back at once, a slow name server must not hold ten thousand threads, and the other deployments' look-ups behind them.
#[derive(Debug, Default)]
pub(super) struct LookUps(Mutex<HashMap<Upstream, LookUp>>);

type LookUp = Shared<BoxFuture<'static, Result<Arc<[SocketAddr]>, Arc<io::Error>>>>;

impl LookUps {
    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way().len()
    }

    /// The addresses of a name, as the system gives them. None is kept: the next one asks again.
    pub(super) async fn ask(&self, upstream: &Upstream) -> Result<Arc<[SocketAddr]>, Arc<io::Error>> {
        // An address needs no name server and no thread.
        if let Some(address) = upstream.socket_address() {
            return Ok([address].into());
        }
        let look_up = match self.under_way().entry(upstream.clone()) {
            Entry::Occupied(under_way) => under_way.get().clone(),
            Entry::Vacant(vacant) => {
                let name = upstream.clone();
                let look_up = async move {
                    let found = lookup_host(name.as_str()).await.map_err(Arc::new)?;
                    Ok(found.collect::<Arc<[SocketAddr]>>())
                };
                vacant.insert(look_up.boxed().shared()).clone()
            }
        };
        // Also when the caller gives up waiting: an answer that nobody took must not be given to one who asks later.
        let _done = Done { look_ups: self, upstream, look_up: &look_up };
        look_up.clone().await
    }

    /// What the next one who asks for a name is told.
    #[cfg(test)]
    pub(super) fn tell_next(&self, upstream: &Upstream, addresses: &[SocketAddr]) {
        let answer = std::future::ready(Ok(Arc::from(addresses)));
        self.under_way().insert(upstream.clone(), answer.boxed().shared());
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Upstream, LookUp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a look-up from those under way when dropped.
struct Done<'a> {
    look_ups: &'a LookUps,
    upstream: &'a Upstream,
    look_up: &'a LookUp,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let mut under_way = self.look_ups.under_way();
        // Only this one: the next may have begun already.
        if under_way.get(self.upstream).is_some_and(|current| current.ptr_eq(self.look_up)) {
            under_way.remove(self.upstream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_that_want_a_name_at_once_share_one_look_up() {
        let look_ups = LookUps::default();
        let name = Upstream::parse("broker.test:1883").unwrap();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let slow = async move { Ok(answered.await.unwrap()) };
        look_ups.under_way().insert(name.clone(), slow.boxed().shared());
        let ask = || look_ups.ask(&name);
        let answering = async move { answer.send(Arc::from([SocketAddr::from(([10, 0, 0, 1], 1883))])) };
        let (first, second, sent) = tokio::join!(ask(), ask(), answering);
        sent.unwrap();
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        assert!(look_ups.under_way().is_empty(), "and the next one asks again");
    }
}
