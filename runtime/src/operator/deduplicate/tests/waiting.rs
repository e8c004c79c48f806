//! Rows that wait until the watermark has passed them.

use super::*;

/// Rows may be further ahead of the watermark than the time to live is long.
#[test]
fn a_row_is_not_taken_for_an_equal_one_that_was_superseded_before_its_key_was_forgotten() {
    for (restarts, memory) in [(false, PLENTY), (true, PLENTY), (false, LITTLE), (true, LITTLE)] {
        let (mut fleet, _) = fleet_writing_ahead(1, Some(10), usize::MAX, memory);
        fleet.rows(&batch(&[row(1, 100, 1)]));
        fleet.rows(&batch(&[row(1, 20, 2)]));
        assert_eq!(emitted(fleet.watermark(50)), [row(1, 20, 2)]);
        fleet.rows(&batch(&[row(1, 100, 3)]));
        if restarts {
            fleet.restart(1);
        }
        assert_eq!(emitted(fleet.watermark(i64::MAX)), [row(1, 100, 3)], "restarts: {restarts}, {memory:?}");
    }
}

#[tokio::test]
async fn rows_that_wait_take_up_the_columns_that_there_are_now() {
    let range = KeyRange { subtask: crate::ids::SubtaskIndex(0), parallelism: 1, max_parallelism: 16 };
    let (ahead, backend) = in_memory();
    let mut before = subtask(range, None, &Dropped::default(), ahead.clone(), &backend);
    let mut out = Output::default();
    before.on_batch(batch(&[row(1, 5, 1)]), &mut out).unwrap();
    let state = before.freeze().unwrap().state.unwrap();
    let file = FileRef::of(ObjectPath("data/f".into()), b"");
    let parts = state.parts.iter().map(|part| {
        let (kind, rows) = (part.kind.to_owned(), part.rows() as u64);
        let reference = PartRef { kind, tag: part.tag(), rows, file: file.clone(), batch: 0 };
        RestoredPart::new(reference, part.batch().unwrap())
    });
    // A new column in front of all others: every place is another.
    let mut fields = vec![Arc::new(Field::new("note", DataType::Utf8, true))];
    fields.extend(batch(&[]).schema().fields().iter().cloned());
    let columns =
        Columns { input: Arc::new(Schema::new(fields)), keys: vec![3], key_names: vec!["key".into()], time: 2 };
    let mut now = build(columns, range, None, &Dropped::default(), ahead, &backend);
    let states =
        vec![RestoredState { groups: range.groups(), value: state.value.clone(), parts: parts.collect(), table: None }];
    now.restore(states, &Lacking { columns: ["note".to_owned()].into(), ..Lacking::default() }).unwrap();
    now.on_watermark(EventTime(10), &mut out).unwrap();
    let put_out = out.elements.iter().find_map(|emitted| match emitted {
        Emitted::Batch(batch) => Some(batch),
        _ => None,
    });
    let put_out = put_out.expect("the row that waited");
    assert_eq!(put_out.column(0).null_count(), 1);
    assert_eq!(rows(&put_out.project(&[1, 2, 3]).unwrap()), [row(1, 5, 1)]);
}

#[test]
fn rows_that_wait_are_uploaded_once_and_again_where_one_of_them_was_replaced() {
    let (mut fleet, _) = fleet(1, None);
    let waiting = |states: &[SubtaskState]| -> Vec<PartRef> {
        states[0].parts.iter().filter(|part| part.kind == WAITING).cloned().collect()
    };
    fleet.rows(&batch(&[row(1, 50, 1), row(2, 50, 2)]));
    fleet.rows(&batch(&[row(3, 70, 3)]));
    let first = waiting(&fleet.checkpoint(true));
    assert_eq!((waiting(&fleet.checkpoint(true)), fleet.uploads()), (first.clone(), 0));
    fleet.restart(1);
    assert_eq!((waiting(&fleet.checkpoint(true)), fleet.uploads()), (first.clone(), 0), "also after a restart");
    fleet.rows(&batch(&[row(1, 40, 4)]));
    let second = waiting(&fleet.checkpoint(true));
    assert!(second.contains(&first[1]) && !second.contains(&first[0]), "{second:?}");
    assert_eq!(emitted(fleet.watermark(100)), [row(1, 40, 4), row(2, 50, 2), row(3, 70, 3)]);
}

#[test]
fn rows_that_wait_leave_memory_when_it_is_short_and_are_put_out_all_the_same() {
    let (mut fleet, _) = fleet_writing_ahead(1, None, usize::MAX, LITTLE);
    let rows: Vec<Row> = (0..=255).map(|key| row(key, 10 + i64::from(key), i64::from(key))).collect();
    for rows in rows.chunks(8) {
        fleet.rows(&batch(rows));
        assert!(fleet.in_memory() <= 512, "{} bytes are in memory", fleet.in_memory());
    }
    fleet.rows(&batch(&[row(200, 5, 1000)]));
    fleet.restart(2);
    let put_out: Vec<Row> = [100, 300].into_iter().flat_map(|watermark| emitted(fleet.watermark(watermark))).collect();
    let expected = rows.iter().map(|found| if found.key == Some(200) { row(200, 5, 1000) } else { found.clone() });
    let mut expected: Vec<Row> = expected.collect();
    expected.sort();
    let mut put_out = put_out;
    put_out.sort();
    assert_eq!(put_out, expected);
}

#[test]
fn many_small_batches_that_wait_are_few_parts_of_a_checkpoint_and_stay_the_same_rows() {
    let (mut fleet, _) = fleet(1, None);
    let (mut expected, mut id) = (BTreeMap::new(), 0);
    let mut most = 0;
    for epoch in 0..150_i64 {
        for number in 0..40 {
            // Now and then a row that came earlier is replaced: the one with the smaller time counts.
            let (key, time) = if number % 7 == 3 && epoch > 0 {
                (((epoch - 1) * 40) as u16, 999 - epoch)
            } else {
                ((epoch * 40 + number) as u16, 1_000 + epoch * 300 + number * 50)
            };
            let came = row(key, time, id);
            fleet.rows(&batch(std::slice::from_ref(&came)));
            let least = expected.entry(key).or_insert_with(|| came.clone());
            if time < least.time {
                *least = came;
            }
            id += 1;
        }
        let states = fleet.checkpoint(epoch % 5 > 0);
        // One that is given up names nothing.
        most = most.max(states.iter().flat_map(|state| &state.parts).filter(|part| part.kind == WAITING).count());
        if epoch % 50 == 20 {
            fleet.restart(1);
        }
    }
    assert!(most <= 100, "{most} parts for {id} batches");
    let mut put_out = Vec::new();
    for watermark in [400, 1_000, 20_000, 20_500, i64::MAX] {
        put_out.extend(emitted(fleet.watermark(watermark)));
    }
    put_out.sort();
    let mut expected: Vec<Row> = expected.into_values().collect();
    expected.sort();
    assert_eq!(put_out, expected);
}
