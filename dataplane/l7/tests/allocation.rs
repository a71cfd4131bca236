//! Nothing is allocated per packet: everything an engine uses, it has from the start.

use weir_l7::{AppEventSink, Buffer, Engine, Event, Speaker};

struct Silence;

impl AppEventSink for Silence {
    fn event(&mut self, _speaker: Speaker, _event: &Event<'_>) {}

    fn wants(&self, _buffer: Buffer) -> bool {
        true
    }
}

#[test]
fn an_engine_allocates_only_when_it_is_made() {
    for sample in weir_samples::all() {
        let mut engine = Engine::new(weir_samples::limits());
        let counted = allocation_counter::measure(|| {
            for size in [1, 100, 65_536] {
                let id = engine
                    .open(sample.transport, [1, sample.port], true)
                    .expect("a session");
                for (direction, piece) in &sample.pieces {
                    for chunk in piece.chunks(size) {
                        engine.data(id, *direction, chunk, &mut Silence);
                    }
                }
                engine.close(id);
            }
        });
        assert_eq!(counted.count_total, 0, "{}", sample.path.display());
    }
}
