//! The store's contract on both engines, a file per aspect.

mod api_keys;
mod audit;
mod boundaries;
mod broker_troubles;
mod crls;
mod deployments;
mod devices;
mod embedded;
mod expiry;
mod feed;
mod hosts;
mod inspection;
mod node_questions;
mod nodes;
mod opening;
mod own_files;
mod postgres;
mod projects;
mod rekey;
mod request_log;
mod revocation_copies;
mod revocation_scale;
mod revocations;
mod servers;
mod snapshot;
mod status_counts;
mod stopped_changes;
mod transfer;
mod versions;
mod world;

/// A test per behaviour on SQLite. On PostgreSQL one per file, each behaviour with its own
/// database: starting a server is expensive.
macro_rules! on_both_engines {
    ($($behaviour:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[test]
                fn $behaviour() {
                    crate::block_on(async { super::$behaviour(crate::world::World::sqlite().await).await });
                }
            )+
        }

        #[test]
        fn all_on_postgres() {
            let _server = certward_test_support::PostgresServer::shared();
            $(
                println!("{}", stringify!($behaviour));
                crate::block_on(async { $behaviour(crate::world::World::postgres().await).await });
            )+
        }
    };
}
use on_both_engines;

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}
