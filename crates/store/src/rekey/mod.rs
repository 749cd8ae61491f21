//! A change of the master key while nodes serve. Each step is one durable transaction, or is
//! repeated from the start without harm. A killed process leaves one of these states, and the next
//! `certward rekey` continues from it. From `offered` on a node holds both keys, and opens a record
//! with the key that it names.
//!
//! ```text
//! state     check value  records under  row in `rekey`   the next step
//! --------  -----------  -------------  ---------------  ------------------------------------
//! settled   old key      old            none, or before  every node gets the new key
//! offered   old key      old            none, or before  `switching`, refused while a listed
//!                                                        node lacks the new key
//! switched  new key      old and new    + switched_at    `resealing`, in windows
//! resealed  new key      new            + resealed_at    each node reseals its replica
//! finished  new key      new            + finished_at    the file of the new key takes the
//!                                                        place of the old one's
//! ```
//!
//! The row says which key came before, so that a node that was away is refused by name.

pub(crate) mod error;
pub(crate) mod resealing;
pub(crate) mod sealed_column;
pub(crate) mod state;
pub(crate) mod switching;
