//! The same bits for any number of threads, from any memory, and from calls that overlap.

use super::networks::networks;
use super::{Case, GradientsOf, Random, STYLES, Style};
use crate::infer::Engine;

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (name, network, sizes) in networks() {
        let case = Case::new(&network, sizes[0], &mut Random(6));
        for set in Engine::instruction_sets() {
            let expected = case.run(&case.trainer(set, 1), Style::Normalized).bits();
            for threads in [2, 3, 4, 7] {
                let found = case.run(&case.trainer(set, threads), Style::Normalized).bits();
                assert!(found == expected, "{name} {set} {threads} threads");
            }
        }
    }
}

#[test]
fn used_memory_gives_the_same_bits() {
    for (name, network, sizes) in networks() {
        let mut random = Random(7);
        let [first, second] = [(); 2].map(|()| Case::new(&network, sizes[0], &mut random));
        let trainer = first.trainer(Engine::instruction_sets()[0], 2);
        assert_eq!(trainer.memory(), 0);
        let expected = first.run(&trainer, Style::Mixed).bits();
        let memory = trainer.memory();
        assert!(memory > 0);
        for style in STYLES {
            second.run(&trainer, style);
        }
        assert!(first.run(&trainer, Style::Mixed).bits() == expected, "{name}");
        assert_eq!(trainer.memory(), memory, "{name}: a call did not reuse the memory of another");
    }
}

#[test]
fn passes_in_any_order_give_the_same_bits() {
    let of = GradientsOf::ParametersAndInput;
    for (name, network, sizes) in networks() {
        let mut random = Random(8);
        let cases = [(); 3].map(|()| Case::new(&network, sizes[0], &mut random));
        let trainer = cases[0].trainer(Engine::instruction_sets()[0], 2);
        let expected = cases.each_ref().map(|case| case.run(&trainer, Style::Normalized).bits());
        // Forward passes before the backward passes of others; the tape of one is dropped.
        let [a, b, c] = cases.each_ref().map(|case| case.forward(&trainer, Style::Normalized, of));
        drop(b);
        let b = cases[1].forward(&trainer, Style::Normalized, of);
        for (i, forward) in [(0, a), (2, c), (1, b)] {
            let found = cases[i].backward(&trainer, Style::Normalized, forward).bits();
            assert!(found == expected[i], "{name} {i}");
        }
    }
}

#[test]
fn more_sizes_than_the_cache_holds() {
    let (_, network, _) = networks().remove(0);
    let mut random = Random(9);
    let cases: Vec<Case> = (0..12).map(|i| Case::new(&network, [1 + i % 2, 8 + i, 9], &mut random)).collect();
    let trainer = cases[0].trainer(Engine::instruction_sets()[0], 2);
    let expected: Vec<_> = cases.iter().map(|case| case.run(&trainer, Style::Normalized).bits()).collect();
    // The plan of a tape may have left the cache before its backward pass.
    let of = GradientsOf::ParametersAndInput;
    let forward: Vec<_> = cases.iter().map(|case| case.forward(&trainer, Style::Normalized, of)).collect();
    for ((case, forward), expected) in cases.iter().zip(forward).zip(&expected) {
        assert!(case.backward(&trainer, Style::Normalized, forward).bits() == *expected, "{}", case.name());
    }
}

#[test]
fn calls_from_several_threads_at_once() {
    let (_, network, sizes) = networks().pop().unwrap();
    let case = Case::new(&network, sizes[0], &mut Random(10));
    let trainer = case.trainer(Engine::instruction_sets()[0], 2);
    let expected = case.run(&trainer, Style::Normalized).bits();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(case.run(&trainer, Style::Normalized).bits() == expected));
        }
    });
}
