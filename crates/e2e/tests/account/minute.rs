//! Rows that wait for what happens once in a while: a report, a time-out, the shortest age of a spool. They run side by
//! side, each on a thread that has its name.

use crate::{gateway, ledger, spool};
use std::thread::{Builder, scope};
use std::time::Instant;

/// Runs each of the functions, which give a future, on a thread and a runtime of its own.
macro_rules! side_by_side {
    ($($row:path),* $(,)?) => {
        scope(|scope| {
            $(
                let run = || {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                    let began = Instant::now();
                    runtime.unwrap().block_on($row());
                    println!("{}: {:.1} s", stringify!($row), began.elapsed().as_secs_f64());
                };
                Builder::new().name(stringify!($row).to_owned()).spawn_scoped(scope, run).unwrap();
            )*
        })
    };
}

#[test]
fn what_takes_a_minute() {
    side_by_side!(
        gateway::forgotten_connections_hold_up_delivery_for_one_time_out,
        ledger::a_gateway_of_a_moment_ago_is_not_reported_yet,
        ledger::balanced_is_claimed_up_to_a_time_and_a_gateway_that_is_cut_off_is_unknown,
        ledger::rows_that_are_gone_are_missing,
        spool::a_shared_spool_holds_up_nobody,
        spool::a_new_name_is_not_held_up_by_the_old_one,
        spool::what_is_stored_is_not_lost_by_being_given_up,
        spool::giving_up_old_chunks_costs_no_new_event,
    );
}
