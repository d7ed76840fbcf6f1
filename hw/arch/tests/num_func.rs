//! The function tables: error over every input, widths, hashes, special values; and `docs/numerics.md`, which states
//! the bounds.

use fastcar_arch::num::fp::{self, CANONICAL_NAN};
use fastcar_arch::num::func::{self, FuncTable};

const UNIT: f64 = (1u64 << 24) as f64;

/// The function behind a table, in units of 2^-24, by binary64.
fn reference(name: &str) -> fn(u32) -> f64 {
    match name {
        "exp2_neg" => |x| libm::exp2(-f64::from(x) / 65536.0) * UNIT,
        "recip" => |x| UNIT / (1.0 + f64::from(x) / 8_388_608.0),
        "rsqrt" => {
            |x| UNIT / libm::sqrt((1.0 + f64::from(x & 0x7F_FFFF) / 8_388_608.0) * f64::from(1 + (x >> 23)))
        }
        "sigmoid" => |x| sigmoid_exact(f64::from(x) / 1_048_576.0) * UNIT,
        "phi" => |x| phi_exact(f64::from(x) / 1_048_576.0) * UNIT,
        _ => panic!("no reference for {name}"),
    }
}

fn sigmoid_exact(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn phi_exact(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// What a sweep over all inputs of a table found.
#[derive(Clone, Copy)]
struct Sweep {
    /// Largest error, in units of 2^-24.
    error: f64,
    least: u32,
    greatest: u32,
}

fn sweep_range(table: &FuncTable, range: std::ops::Range<u32>) -> Sweep {
    let exact = reference(table.name);
    let mut found = Sweep { error: 0.0, least: u32::MAX, greatest: 0 };
    for x in range {
        let y = table.eval(x);
        found.error = found.error.max((f64::from(y) - exact(x)).abs());
        found.least = found.least.min(y);
        found.greatest = found.greatest.max(y);
    }
    found
}

/// All inputs of a table, on all cores.
fn sweep(table: &FuncTable) -> Sweep {
    let inputs = 1u64 << (table.index_bits + table.offset_bits);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64).min(64);
    let bound = |t: u64| (inputs * t / threads) as u32;
    let parts: Vec<Sweep> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|t| scope.spawn(move || sweep_range(table, bound(t)..bound(t + 1)))).collect();
        workers.into_iter().map(|w| w.join().expect("a worker panicked")).collect()
    });
    let merge = |a: Sweep, b: Sweep| Sweep {
        error: a.error.max(b.error),
        least: a.least.min(b.least),
        greatest: a.greatest.max(b.greatest),
    };
    parts.into_iter().reduce(merge).expect("at least one worker")
}

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/numerics.md"))
        .expect("docs/numerics.md")
}

/// The cells of the rows of `docs/numerics.md` whose first cell is `` `name` `` and which have `cells` cells.
fn rows(page: &str, name: &str, cells: usize) -> Vec<Vec<String>> {
    let split =
        |line: &str| line.trim().trim_matches('|').split('|').map(|c| c.trim().replace('`', "")).collect();
    let all = page.lines().filter(|l| l.starts_with(&format!("| `{name}` |"))).map(split);
    all.filter(|r: &Vec<String>| r.len() == cells).collect()
}

/// Columns: table, index bits, offset bits, inputs, bound, measured.
#[test]
fn errors_over_every_input_are_those_of_the_page() {
    let page = page();
    for table in func::tables() {
        let found = sweep(table);
        let expected = rows(&page, table.name, 6);
        let inputs = 1u64 << (table.index_bits + table.offset_bits);
        let measured = format!("{:.4}", found.error);
        println!("{}: {measured}, values {} to {}", table.name, found.least, found.greatest);
        assert_eq!(expected.len(), 1, "docs/numerics.md has no error row for {}", table.name);
        let row = &expected[0];
        assert_eq!(
            row[1..4],
            [table.index_bits.to_string(), table.offset_bits.to_string(), inputs.to_string()]
        );
        assert_eq!(row[5], measured, "measured error of {}", table.name);
        assert!(found.error <= row[4].parse::<f64>().unwrap(), "bound of {}", table.name);
        assert!(found.greatest <= 1 << 24 && found.least >= 1 << 23, "range of {}", table.name);
        if table.name == "exp2_neg" {
            assert!(found.least > 1 << 23);
        }
    }
}

/// Columns: table, entry 0, hash.
#[test]
fn coefficients_are_those_of_the_page() {
    let page = page();
    for table in func::tables() {
        let expected = rows(&page, table.name, 3);
        let word = format!("0x{:018X}", table.word(0));
        println!("| `{}` | `{word}` | `{}` |", table.name, table.hash());
        assert_eq!(expected.len(), 1, "docs/numerics.md has no hash row for {}", table.name);
        assert_eq!(expected[0][1..], [word, table.hash().to_string()]);
    }
}

#[test]
fn coefficients_fit_their_widths() {
    assert_eq!(func::WORD_BITS, 72);
    for t in func::tables() {
        assert_eq!(t.entries.len(), 1 << t.index_bits);
        assert!(t.index_bits <= 9, "one block RAM of 512 words");
        assert_eq!((t.k1, t.k2), (t.offset_bits + 2, t.offset_bits + 1));
        let signed = |v: i64, bits: u32| (-(1 << (bits - 1))..1 << (bits - 1)).contains(&v);
        for (i, e) in t.entries.iter().enumerate() {
            assert!(e.c0 < 1 << t.c0_bits);
            assert!(signed(e.c1.into(), t.c1_bits) && signed(e.c2.into(), t.c2_bits));
            // The word holds all of the entry.
            let word = t.word(i);
            let field = |low: u32, bits: u32| ((word >> low) as i64) << (64 - bits) >> (64 - bits);
            assert_eq!(word & ((1 << t.c0_bits) - 1), u128::from(e.c0));
            assert_eq!(field(t.c0_bits, t.c1_bits), i64::from(e.c1));
            assert_eq!(field(t.c0_bits + t.c1_bits, t.c2_bits), i64::from(e.c2));
            assert_eq!(word >> func::WORD_BITS, 0);
            // The inner sum fits the wide port of a 27 x 18 multiplier.
            for d in [-(1i64 << (t.offset_bits - 1)), (1 << (t.offset_bits - 1)) - 1] {
                assert!(signed(i64::from(e.c1) + ((d * i64::from(e.c2)) >> t.k2), 27));
            }
        }
    }
}

fn bits(x: f32) -> u32 {
    x.to_bits()
}

#[test]
fn exp2_neg_at_the_ends() {
    assert_eq!(func::exp2_neg(0), 1 << 24);
    assert_eq!(func::exp2_neg(0x8000), 11_863_283); // 2^23.5
    assert!(func::exp2_neg(0xFFFF) > 1 << 23);
}

#[test]
fn recip_special_values() {
    assert_eq!(bits(func::recip(f32::NAN)), bits(CANONICAL_NAN));
    for sign in [1.0f32, -1.0] {
        assert_eq!(func::recip(sign * 0.0), sign * f32::INFINITY);
        assert_eq!(func::recip(sign * f32::from_bits(0x7F_FFFF)), sign * f32::INFINITY);
        assert_eq!(bits(func::recip(sign * f32::INFINITY)), bits(sign * 0.0));
        assert_eq!(bits(func::recip(sign * f32::MAX)), bits(sign * 0.0));
        for e in -126..=126 {
            assert_eq!(
                f64::from(func::recip(sign * libm::exp2f(e as f32))),
                f64::from(sign) * libm::exp2(f64::from(-e))
            );
        }
    }
    assert_eq!(bits(func::recip(libm::exp2f(127.0))), 0);
}

#[test]
fn rsqrt_special_values() {
    for bad in [f32::NAN, -1.0, -f32::MIN_POSITIVE, f32::NEG_INFINITY] {
        assert_eq!(bits(func::rsqrt(bad)), bits(CANONICAL_NAN));
    }
    for zero in [0.0, -0.0, f32::from_bits(1), f32::from_bits(0x8000_0001)] {
        assert_eq!(func::rsqrt(zero), f32::INFINITY);
    }
    assert_eq!(bits(func::rsqrt(f32::INFINITY)), 0);
    for e in -63..=63 {
        assert_eq!(f64::from(func::rsqrt(libm::exp2f(2.0 * e as f32))), libm::exp2(f64::from(-e)));
    }
}

/// Every exponent with a few significands: the error stays below one unit in the last place of the result.
#[test]
fn recip_and_rsqrt_over_all_exponents() {
    for field in 1..=254u32 {
        for mantissa in [0, 1, 2, 0x2A_AAAA, 0x40_0000, 0x55_5555, 0x7F_FFFE, 0x7F_FFFF] {
            let x = f32::from_bits(field << 23 | mantissa);
            let check = |y: f32, exact: f64| {
                if exact >= f64::from(f32::MIN_POSITIVE) {
                    assert!(
                        (f64::from(y) / exact - 1.0).abs() < 1.0 / 8_388_608.0,
                        "{x:e}: {y:e}, not {exact:e}"
                    );
                } else {
                    assert!(y == 0.0 || y == f32::MIN_POSITIVE);
                }
            };
            check(func::recip(x), 1.0 / f64::from(x));
            assert_eq!(bits(func::recip(-x)), bits(-func::recip(x)));
            check(func::rsqrt(x), 1.0 / libm::sqrt(f64::from(x)));
        }
    }
}

#[test]
fn sigmoid_and_phi_special_values() {
    for (f, limit) in [(func::sigmoid as fn(f32) -> f32, 16.0f32), (func::phi, 8.0)] {
        assert_eq!(bits(f(f32::NAN)), bits(CANONICAL_NAN));
        for zero in [0.0, -0.0, f32::from_bits(0x8000_0001), 1e-20] {
            assert_eq!(f(zero), 0.5);
        }
        for large in [limit, 1e30, f32::INFINITY] {
            assert_eq!(f(large), 1.0);
            assert_eq!(bits(f(-large)), 0);
        }
    }
    assert_eq!(func::sigmoid(f32::from_bits(16f32.to_bits() - 1)), 1.0 - 2.0 / UNIT as f32);
    assert_eq!(func::sigmoid(-f32::from_bits(16f32.to_bits() - 1)), 2.0 / UNIT as f32);
}

#[test]
fn silu_and_gelu_special_values() {
    for f in [func::silu as fn(f32) -> f32, func::gelu] {
        assert_eq!(bits(f(f32::NAN)), bits(CANONICAL_NAN));
        assert_eq!(bits(f(f32::NEG_INFINITY)), bits(CANONICAL_NAN), "-infinity times zero");
        assert_eq!(f(f32::INFINITY), f32::INFINITY);
        assert_eq!((bits(f(0.0)), bits(f(-0.0)), bits(f(-100.0))), (0, 0x8000_0000, 0x8000_0000));
        assert_eq!(f(100.0), 100.0);
        assert_eq!(f(-1e-30), -0.5e-30);
    }
    for x in [-9.0f32, -3.3, -0.7, 0.1, 1.0, 2.5, 7.9] {
        assert_eq!(func::silu(x), fp::mul(x, func::sigmoid(x)));
        assert_eq!(func::gelu(x), fp::mul(x, func::phi(x)));
    }
}

/// Columns: function, bound, largest error seen. The argument is rounded to 2^-20 before the table, so that the bound
/// is the table's plus half a step times the steepest slope. The sweep takes every 97th number of binary32.
#[test]
fn errors_with_a_rounded_argument() {
    let page = page();
    type Function = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f32);
    let functions: [Function; 2] =
        [("sigmoid(x)", func::sigmoid, sigmoid_exact, 16.0), ("phi(x)", func::phi, phi_exact, 8.0)];
    for (name, f, exact, limit) in functions {
        let error = |b: u32| {
            let x = f32::from_bits(b);
            let pair = [x, -x].map(|x| (f64::from(f(x)) - exact(f64::from(x))).abs() * UNIT);
            pair[0].max(pair[1])
        };
        let range = 1e-8f32.to_bits()..(2.0 * limit).to_bits();
        let worst = range.step_by(97).map(error).fold(0.0, f64::max);
        println!("{name}: {worst:.2}");
        let row = rows(&page, name, 3);
        assert_eq!(row.len(), 1, "docs/numerics.md has no row for {name}");
        assert!(worst <= row[0][1].parse::<f64>().unwrap(), "bound of {name}");
        assert_eq!(row[0][2], format!("{worst:.2}"), "largest error of {name}");
    }
}
