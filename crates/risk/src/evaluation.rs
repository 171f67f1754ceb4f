//! How good the detection is: recorded requests are played to an engine of their own, beside the plain counter that most
//! installations have, and what each of them bans is counted.
//!
//! Pure like the rest: it is given lines and labels, and gives figures. Nothing of it runs in a gateway.
//!
//! A false 403 is a good request that a ban would have refused: one of an actor that is no attacker, which the application answered
//! below 400. Logins with labels are played likewise, and it is counted who would have been asked to step up. All shares come with their 95 % Wilson interval.

mod counter;
mod line;
mod logins;
mod outcome;
mod rates;
mod replay;
mod scores;
mod synthetic;

pub use counter::PlainCounter;
pub use line::{LineError, LoggedRequest};
pub use logins::{Columns, Login, LoginError, LoginFigures, LoginReplay};
pub use outcome::{ActorOutcome, Figures, Outcomes};
pub use rates::{Interval, Share};
pub use replay::{Detector, replay};
pub use scores::Scores;
pub use synthetic::{MadeUp, Population, make_up};
