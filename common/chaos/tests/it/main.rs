//! The checks of the chaos run, themselves checked: what is wrong is refused, what is right is not.

mod audits;
mod histories;
mod lies;
mod schedules;
