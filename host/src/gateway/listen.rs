//! Takes connections and hands them to Pingora's proxy; stops without cutting a request off.
//!
//! Pingora's own `Server` takes over signals and the process, and binds where nobody can ask for the port. Its proxy
//! needs neither: it serves any stream that it is given, on whatever tokio runtime asks it to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::proxy::Gate;
use super::state::State;
use super::{ACCEPT_PAUSE, Gateway, reload};

/// The accept loop, before it runs.
pub(crate) struct Accepting {
    listener: TcpListener,
    proxy: Arc<HttpProxy<Gate>>,
    stop: watch::Receiver<bool>,
    drain: Duration,
}

impl Accepting {
    /// # Errors
    /// If the listener can't be watched.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(
        state: Arc<State>,
        listener: std::net::TcpListener,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Accepting> {
        let retries = usize::try_from(state.config.policy.retries).unwrap_or(usize::MAX);
        let conf = ServerConf { max_retries: retries.saturating_add(1), ..ServerConf::default() };
        let drain = Duration::from_millis(state.config.timeouts.drain_ms);
        let mut proxy = HttpProxy::new(Gate(state), Arc::new(conf));
        proxy.handle_init_modules();
        Ok(Accepting { listener: TcpListener::from_std(listener)?, proxy: Arc::new(proxy), stop, drain })
    }

    pub(crate) async fn run(self) {
        let Accepting { listener, proxy, stop, drain } = self;
        let mut connections = JoinSet::new();
        let mut stopping = stop.clone();
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let _ = stream.set_nodelay(true); // an answer waits for no second packet
                        let (proxy, stop) = (proxy.clone(), stop.clone());
                        connections.spawn(async move {
                            proxy.process_new(Box::new(Stream::from(stream)), &stop).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "connection can't be taken");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        proxy.cleanup().await; // wakes connections that wait for their next request
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::warn!("requests are cut off at the end of timeouts.drain_ms");
        }
    }
}

/// Ends when the gateway is told to stop, or is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The signals that a gateway as a program obeys. Taken before it listens: from then on nobody's signal ends it by
/// accident.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// If the operating system refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn take() -> io::Result<Signals> {
        let [hangup, terminate, interrupt] =
            [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        Ok(Signals { hangup: hangup?, terminate: terminate?, interrupt: interrupt? })
    }
}

/// Runs a gateway until it is told to stop by a signal.
pub(crate) async fn until_signalled(gateway: Gateway, signals: Signals) {
    let Signals { mut hangup, mut terminate, mut interrupt } = signals;
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                // Both log what they find.
                reload::reread(&gateway);
                let _ = gateway.reload();
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("gateway stops");
    tokio::select! {
        () = gateway.stop() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
