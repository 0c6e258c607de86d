//! Keys, values and lists.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
NO_KEY 201 Absent "no such key"
"The key does not exist."

DIFFERS 202 Refused "the value is another one"
"A compare-and-swap found another value than expected, and changed nothing. The message shows the
revision of the last change."

TOO_LARGE 203 Usage "a key or value over its limit"
"Keys have 1 to 1,024 bytes, values at most 1,044,480 bytes."

BAD_LINE 204 Usage "a bad line in the file"
"A line of the file is not KEY<TAB>VALUE, or a key or value is over its limit. A plain file is
checked as a whole before anything is sent; of a pipe or device, which can be read only once, this
was the first line. Nothing was changed."

LOAD_STOPPED 205 Partial "the load stopped on the way"
"Some lines are loaded and acknowledged, others not. Every line before the one that the message
names is in the cluster. Go on with --from-line; loading a line twice does no harm. What came
through a pipe is gone: give the same lines once more, --from-line skips those that are loaded."

NO_INDEX 206 Absent "no such log index"
"The node's log has no entry at this index: it is not written yet, or compacted away."

INPUT_CHANGED 208 Partial "the file was changed meanwhile"
"The file was checked as a whole, and was another one when it was read once more: somebody writes to
it. The message says what was done with it. Run the command again when the file is complete; loading
a line twice does no harm."

BAD_KEY 212 Usage "a key in quotes that cannot be read"
"Where a key is typed, $'..' is read as shells read it, because keys that do not show themselves are
printed so: a newline is \\n, a tab \\t, any byte \\xHH, a character \\uHHHH, a backslash \\\\, a
quote \\'. Every other text stands for itself, backslashes and all. A key that really begins with $'
is typed in such quotes, too; the help shows it."

LIST_CUT_OFF 213 Partial "the list was cut off"
"Some items are printed, and then the cluster did not answer any more, as the message says: the list
is not complete, and JSON and YAML end in the middle. What is printed is right. The same command
begins anew; a list of keys goes on with --after."
}
