//! Good statements and the graphs they mean.

use super::*;

#[test]
fn shows() {
    for sql in [
        STORE_SALES,
        "INSERT INTO totals SELECT * FROM orders",
        "INSERT INTO totals SELECT userid, \"Page\" AS p FROM clicks WHERE PAGE LIKE 'a%'",
        "INSERT INTO totals SELECT store_id, count(DISTINCT order_id) AS n, avg(amount) AS a, min(ts) AS t, max(upper(note)) AS m, count(*) FILTER (WHERE amount > 5) AS f
         FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, store_id HAVING sum(amount) > 10",
        "INSERT INTO totals SELECT window_end, upper(note) AS u, count(*) AS n FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1 hour')) AS w GROUP BY window_end, upper(note)",
        "INSERT INTO totals SELECT order_id, ts FROM orders QUALIFY ROW_NUMBER() OVER (PARTITION BY order_id, lower(note) ORDER BY ts) = 1",
        "INSERT INTO totals SELECT store_id + 1 AS n, (store_id + 1) * 2 AS m FROM orders WHERE store_id + 1 > 2",
    ] {
        let graph = graph(sql);
        println!("{graph}");
        for node in &graph.nodes { println!("   {}: {:?} {:?}", node.id, node.inputs, node.schema.fields().iter().map(|f| format!("{}:{}", f.name(), f.data_type())).collect::<Vec<_>>()); }
    }
}
