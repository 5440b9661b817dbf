//! Lays out what the northbound knows in the standard modules: ietf-netconf-monitoring and ietf-yang-library.

use std::sync::Arc;

use crate::netconf::capability;
use crate::netconf::counters::Counters;
use crate::netconf::library::{self, Library};
use crate::netconf::monitoring::{self, DatastoreState, Lock, PartialLock, Server, SessionState};
use crate::northbound::abilities::Abilities;
use crate::northbound::own_state::{Facts, Monitoring, State};
use crate::northbound::url::SCHEMES;
use crate::northbound::{Client, Datastore};
use crate::yang::schema::Schema;

const ROOTS: [&str; 3] = [monitoring::ROOT, library::ROOT, library::OLDER_ROOT];

pub(super) struct Standard {
    pub counters: Arc<Counters>,
}

impl Monitoring for Standard {
    fn capabilities(&self, schema: &'static Schema) -> Vec<String> {
        let mut all: Vec<String> = [
            capability::BASE_1_0,
            capability::BASE_1_1,
            capability::CANDIDATE,
            capability::PRIVATE_CANDIDATE_OURS,
            capability::CONFIRMED_COMMIT,
            capability::ROLLBACK_ON_ERROR,
            capability::VALIDATE_1_1,
            capability::XPATH,
            capability::WITH_DEFAULTS,
            capability::WITH_OPERATIONAL_DEFAULTS,
            capability::NOTIFICATION,
            capability::INTERLEAVE,
            capability::PARTIAL_LOCK,
        ]
        .map(str::to_owned)
        .to_vec();
        let abilities = Abilities::of(schema);
        all.extend(abilities.startup.then(|| capability::STARTUP.to_owned()));
        all.extend(abilities.writable_running.then(|| capability::WRITABLE_RUNNING.to_owned()));
        all.extend(abilities.url.then(|| format!("{}?scheme={SCHEMES}", capability::URL)));
        all.extend(capability::yang_library(schema.content_id()));
        all.extend(schema.modules().iter().filter(|module| module.is_implemented).map(|module| {
            let (features, deviations) = (&module.features, &module.deviated_by);
            capability::module(module.namespace, module.name, module.revision, features, deviations)
        }));
        all
    }

    fn roots(&self) -> &'static [&'static str] {
        &ROOTS
    }

    fn state(&self, root: &str, facts: &Facts<'_>) -> State {
        let schema = facts.schema;
        match root {
            monitoring::ROOT => {
                let server = self.server(facts);
                State::to_make(move || monitoring::state(&Server { schemas: schemas_of(schema), ..server }))
            }
            library::ROOT => State::to_make(move || vec![library::yang_library(&library_of(schema))]),
            library::OLDER_ROOT => State::to_make(move || vec![library::modules_state(&library_of(schema))]),
            _ => State::Made(Vec::new()),
        }
    }
}

impl Standard {
    /// All but the schemas, which do not change.
    fn server(&self, facts: &Facts<'_>) -> Server {
        let sessions = facts
            .sessions
            .iter()
            .map(|(caller, opened)| SessionState {
                session: caller.session,
                transport: match caller.client {
                    Client::Netconf => monitoring::SSH.to_owned(),
                    Client::Tls => monitoring::TLS.to_owned(),
                    Client::Shell
                    | Client::LocalShell
                    | Client::Script { .. }
                    | Client::Judge { .. }
                    | Client::Local
                    | Client::Agent => "procyon-agent:local".to_owned(),
                },
                user: caller.user.clone(),
                source_host: caller.origin.parse::<std::net::SocketAddr>().ok().map(|peer| peer.ip().to_string()),
                login_time: time(*opened),
                counts: self.counters.of_session(caller.session).unwrap_or_default(),
            })
            .collect();
        Server {
            capabilities: facts.capabilities.to_vec(),
            datastores: facts
                .locks
                .iter()
                .map(|(datastore, held)| DatastoreState {
                    datastore: *datastore,
                    lock: held.map(|(holder, since)| Lock { holder, since: time(since) }),
                    partial_locks: if *datastore == Datastore::Running { partial_locks(facts) } else { Vec::new() },
                })
                .collect(),
            schemas: Vec::new(),
            sessions,
            started: time(facts.started_unix),
            totals: self.counters.totals(),
        }
    }
}

fn schemas_of(schema: &'static Schema) -> Vec<monitoring::Schema> {
    let schemas = schema.modules().into_iter().flat_map(|module| {
        let namespace = module.namespace;
        let own = (module.name, module.revision);
        std::iter::once(own).chain(module.submodules).map(move |(name, revision)| monitoring::Schema {
            name: name.to_owned(),
            revision: revision.unwrap_or_default().to_owned(),
            namespace: namespace.to_owned(),
        })
    });
    schemas.collect()
}

fn partial_locks(facts: &Facts<'_>) -> Vec<PartialLock> {
    let told = facts.partial_locks.iter().map(|(id, held)| PartialLock {
        id: *id,
        lock: Lock { holder: held.session, since: time(held.since_unix) },
        selects: held.selects.clone(),
        nodes: held.nodes.iter().cloned().collect(),
    });
    told.collect()
}

fn library_of(schema: &'static Schema) -> Library {
    let modules = schema.modules();
    let revision_of = |name: &str| {
        let found = modules.iter().find(|module| module.name == name);
        found.and_then(|module| module.revision).map(str::to_owned)
    };
    Library {
        modules: modules
            .iter()
            .map(|module| library::Module {
                name: module.name.to_owned(),
                revision: module.revision.map(str::to_owned),
                namespace: module.namespace.to_owned(),
                features: module.features.iter().map(|feature| (*feature).to_owned()).collect(),
                deviations: module.deviated_by.iter().map(|name| ((*name).to_owned(), revision_of(name))).collect(),
                submodules: module
                    .submodules
                    .iter()
                    .map(|(name, revision)| ((*name).to_owned(), revision.map(str::to_owned)))
                    .collect(),
                implemented: module.is_implemented,
            })
            .collect(),
        content_id: schema.content_id().to_owned(),
        datastores: ["running", "candidate", "intended", "operational", "startup"]
            .into_iter()
            .filter(|name| *name != "startup" || Abilities::of(schema).startup)
            .map(|name| format!("ietf-datastores:{name}"))
            .collect(),
    }
}

fn time(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
