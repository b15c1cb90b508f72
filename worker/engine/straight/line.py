"""Puts functions in place of their calls, so that an interpreter's step is one run of plain lines.

In plain Python a call costs as much as five multiplications, and a step of a rule makes a dozen of
them. The operations, and so the bits, are the same as before, in the same order; only what does not
change within the loop is worked out before it. It takes functions of arithmetic whose every `return`
ends the body or an `if` without an `else`, and lists that a loop either reads or writes.
"""

import ast

from worker.engine.straight.calls import Inliner
from worker.engine.straight.copies import drop_unread, merge_copies
from worker.engine.straight.rounds import hoist
from worker.engine.straight.tuples import take_apart


def straighten(text: str, entry: str) -> str:
    """Return a text in which the loop of `entry` calls none of the text's own functions.

    Args:
        text: Functions and what else a module has.
        entry: Its parameters must be names that no other function binds to something else.
    """
    tree = ast.parse(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    aliases = {
        node.targets[0].id: node.value.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Name)
    }
    known = functions | {name: functions[to] for name, to in aliases.items() if to in functions}
    function = functions[entry]
    body = Inliner(known).expand(function.body)
    body = merge_copies(drop_unread(take_apart(body)))
    function.body = hoist(body, {part.arg for part in function.args.args})
    return ast.unparse(ast.fix_missing_locations(tree))
