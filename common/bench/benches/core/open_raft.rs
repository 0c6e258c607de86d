//! openraft: three nodes with their tasks on one runtime of one thread, and calls between them.

use std::collections::{BTreeMap, VecDeque};
use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use tokio::runtime::Runtime;

use self::store::{Applied, Log};
use crate::work::{Done, ENTRIES, LEADER, Work, value};

mod store;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Bytes,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// The nodes, and how many messages went between them.
#[derive(Default)]
struct Shared {
    nodes: [OnceLock<Raft<Types>>; 3],
    steps: AtomicU64,
}

/// Three nodes and where they run: their tasks end with it.
pub(crate) struct OpenRaft {
    runtime: Runtime,
    shared: Arc<Shared>,
    machines: [Applied; 3],
}

impl OpenRaft {
    /// Starts three nodes and elects one.
    pub(crate) fn elected() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let trio = Self {
            runtime: runtime.expect("a timer"),
            shared: Arc::default(),
            machines: std::array::from_fn(|_| Applied::default()),
        };
        trio.runtime.block_on(trio.elect());
        trio
    }

    async fn elect(&self) {
        let config = Config {
            // As the others: nobody stands by itself, and no heartbeats.
            enable_tick: false,
            snapshot_policy: SnapshotPolicy::Never,
            ..Config::default()
        };
        let config = Arc::new(config.validate().expect("the settings are good"));
        for (place, node) in self.shared.nodes.iter().enumerate() {
            let (log, network) = (Log::default(), Network(Arc::clone(&self.shared)));
            let machine = self.machines[place].clone();
            let raft = Raft::new(place as u64, Arc::clone(&config), network, log, machine).await;
            node.get_or_init(|| raft.expect("its log is empty"));
        }
        let node = |place| (place, BasicNode::default());
        let members: BTreeMap<u64, BasicNode> = (0..3).map(node).collect();
        // Who is told first stands at once.
        self.node(LEADER).initialize(members).await.expect("it is new");
        let leader = self.node(LEADER).wait(Some(PATIENCE));
        leader.current_leader(LEADER as u64, "the election").await.expect("nobody stands against");
    }

    /// Proposes all values, until all nodes have applied all of them.
    pub(crate) fn run(&mut self, work: Work) -> Done {
        let (before, began) = (self.shared.steps.load(Ordering::Relaxed), Instant::now());
        self.runtime.block_on(self.propose_all(work));
        let took = began.elapsed();
        for machine in &self.machines {
            assert_eq!(machine.count(), ENTRIES, "a node does not have all values");
        }
        Done { took, steps: self.shared.steps.load(Ordering::Relaxed) - before }
    }

    async fn propose_all(&self, work: Work) {
        let leader = self.node(LEADER);
        let mut under_way = VecDeque::new();
        let mut last = None;
        for number in 1..=ENTRIES {
            let value = Bytes::from(value(number));
            under_way.push_back(leader.client_write_ff(value).await.expect("it runs"));
            if number % work.batch != 0 {
                continue;
            }
            let room = if number == ENTRIES { 0 } else { work.room() };
            while under_way.len() as u64 > room {
                let answer = under_way.pop_front().expect("it is not empty").await;
                let answer = answer.expect("it runs").expect("it leads");
                last = Some(answer.log_id.index);
            }
        }
        for place in 0..self.shared.nodes.len() {
            let node = self.node(place).wait(Some(PATIENCE));
            node.applied_index_at_least(last, "the last value").await.expect("nothing is lost");
        }
    }

    fn node(&self, place: usize) -> &Raft<Types> {
        self.shared.node(place)
    }
}

impl Shared {
    fn node(&self, place: usize) -> &Raft<Types> {
        self.nodes[place].get().expect("all are started before one is told of the others")
    }
}

/// Makes connections, which are calls.
struct Network(Arc<Shared>);

impl RaftNetworkFactory<Types> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Connection {
        Connection { shared: Arc::clone(&self.0), target }
    }
}

struct Connection {
    shared: Arc<Shared>,
    target: u64,
}

impl Connection {
    /// Returns whom to call. A call is two messages: what is asked, and the answer.
    fn called(&self) -> &Raft<Types> {
        self.shared.steps.fetch_add(2, Ordering::Relaxed);
        self.shared.node(usize::try_from(self.target).expect("64 bits"))
    }
}

type Failure<E> = RPCError<u64, BasicNode, RaftError<u64, E>>;

impl RaftNetwork<Types> for Connection {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let answer = self.called().append_entries(request).await;
        answer.map_err(|error| RemoteError::new(self.target, error).into())
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        unreachable!("the log is never compacted")
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let answer = self.called().vote(request).await;
        answer.map_err(|error| RemoteError::new(self.target, error).into())
    }
}
