//! What goes wrong on purpose, and how often: decided by a seed, so that a run can be repeated.

/// What a proxy does to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is answered with that status and never reaches the server.
    Status(u16),
    /// It is answered 429 with `Retry-After: 1`.
    TooMany,
    /// The connection ends after that many bytes of its body went to the server.
    CutRequest(u64),
    /// The connection ends after that many bytes of the answer.
    CutAnswer(u64),
    /// The answer arrives in small pieces with pauses.
    Slow,
}

/// How many of a hundred requests meet which fault.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// 500, 502, 503 or 504.
    pub status: u64,
    /// 429.
    pub too_many: u64,
    /// The request is cut.
    pub cut_request: u64,
    /// The answer is cut.
    pub cut_answer: u64,
    /// The answer is slow.
    pub slow: u64,
}

/// Draws faults, the same ones for the same seed.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
    rates: Rates,
}

impl Dice {
    /// Dice that fall by `rates`.
    pub fn new(seed: u64, rates: Rates) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, rates }
    }

    /// The next request's fault.
    pub fn roll(&mut self) -> Fault {
        let (roll, detail) = (self.next() % 100, self.next());
        let Rates { status, too_many, cut_request, cut_answer, slow } = self.rates;
        let limits = [status, too_many, cut_request, cut_answer, slow];
        let mut below = 0;
        let kind = limits.iter().position(|rate| {
            below += rate;
            roll < below
        });
        match kind {
            Some(0) => Fault::Status([500, 502, 503, 504][usize::try_from(detail % 4).expect("less than 4")]),
            Some(1) => Fault::TooMany,
            Some(2) => Fault::CutRequest(detail % 300_000),
            Some(3) => Fault::CutAnswer(detail % 200_000),
            Some(_) => Fault::Slow,
            None => Fault::None,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }
}
