//! Rows that wait for what happens once in half a minute or a minute: a time-out, the shortest age of a spool. They run
//! side by side.

use crate::{gateway, spool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_a_minute() {
    tokio::join!(
        gateway::forgotten_connections_hold_up_delivery_for_one_time_out(),
        spool::a_shared_spool_holds_up_nobody(),
        spool::a_new_name_is_not_held_up_by_the_old_one(),
        spool::what_is_stored_is_not_lost_by_being_given_up(),
        spool::giving_up_old_chunks_costs_no_new_event(),
    );
}
