//! Good statements and the graphs they mean.

use super::*;

#[test]
fn two_sinks_share_the_work_of_one_view() {
    let graph = graph(STORE_SALES);
    println!("{graph}");
    panic!();
}
