"""To JSON Schema 7.0 is a whole number. The gateway refuses a number with a fraction or an exponent
as an id, because whoever writes ids so has lost digits before: a double holds only 2^53 of them.
So a body that is meant to be right has its whole numbers written as such."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    return with_whole_numbers(body)


def with_whole_numbers(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: with_whole_numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [with_whole_numbers(one) for one in value]
    return value
