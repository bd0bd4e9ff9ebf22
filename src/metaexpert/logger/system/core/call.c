/* A log call, compiled: the bytes of `encoding/fast.py` for the entries that are logged most.

   A call takes its keywords as they come, without a dict of them, encodes its fields (fields.c), and joins them to what
   Python code has encoded before (Route, BoundContext, Encoder). The Python function that the method stands
   for gets the rest, with the same arguments: unusual values, names and messages that come for the first time, %
   arguments, exceptions. The core touches no memory but that of Python objects: the line goes to the journal by the
   `write` of its lane.

   Threads: from the number of an entry to its place in the journal no other thread comes in between. */

#include "core.h"
#include <string.h>
#include <time.h>

#define SECOND 1000000000LL
/* Fields of a call that need more bytes are left to Python. */
#define ROOM 2048

/* Return what a slot holds (a new reference): other threads, and whatever a call runs, may replace it meanwhile. */
static PyObject *
hold(PyObject *object, Py_ssize_t offset)
{
    PyObject *found = SLOT(object, offset);
    if (found == NULL)
        PyErr_SetString(PyExc_AttributeError, "a slot is empty");
    return Py_XNewRef(found);
}

/* -- the pieces of a line ----------------------------------------------------------------------------------------- */

/* Owned, apart from the route, which the method owns. */
typedef struct {
    PyObject *route;
    PyObject *line_start;
    PyObject *head;
    PyObject *message;
    PyObject *context;
    int64_t second;
    int64_t now;
} Pieces;

/* Return the bound context (a new reference) of a call of *logger*, inside the context frame that is active; NULL,
   perhaps with an error, when that is for Python to find. */
static PyObject *
find_context(const Method *self, PyObject *logger)
{
    const State *state = self->state;
    PyObject *frame = NULL, *context = PyObject_GetAttr(logger, state->bound_context_name);
    if (context == NULL || PyContextVar_Get(self->current_frame, Py_None, &frame) < 0) {
        Py_XDECREF(context);
        return NULL;
    }
    if (frame != Py_None && PyObject_TypeCheck(frame, state->frame)) {
        PyObject *encoded = SLOT(frame, state->frame_encoded);
        PyObject *inner = encoded && PyDict_CheckExact(encoded) ? PyDict_GetItemWithError(encoded, context) : NULL;
        inner = inner ? Py_NewRef(inner)
                      : PyErr_Occurred() ? NULL : PyObject_CallFunctionObjArgs(self->context_in, frame, logger, NULL);
        Py_SETREF(context, inner);
    }
    Py_DECREF(frame);
    if (context != NULL && (!PyObject_TypeCheck(context, state->context) ||
                            SLOT(context, state->context_generation) != state->generation))
        Py_CLEAR(context);
    return context;
}

/* Whether structlog's own contextvars hold something here: cleared ones hold an Ellipsis. -1 with an error. */
static int
foreign_is_set(PyObject *foreign)
{
    Py_ssize_t position = 0;
    PyObject *name, *variable;
    while (PyDict_Next(foreign, &position, &name, &variable)) {
        PyObject *value;
        if (PyContextVar_Get(variable, Py_Ellipsis, &value) < 0)
            return -1;
        Py_DECREF(value);
        if (value != Py_Ellipsis)
            return 1;
    }
    return 0;
}

/* Returns whether the route takes this entry; -1 with an error. */
static int
is_free(const Method *self, PyObject *route)
{
    if (SLOT(route, self->state->route_check) == Py_None)
        return 1;
    PyObject *check = hold(route, self->state->route_check);
    PyObject *answer = check == NULL ? NULL : PyObject_CallNoArgs(check);
    int result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    Py_XDECREF(check);
    return result;
}

static int
read_clock(const Method *self, int64_t *nanoseconds)
{
    if (self->now == Py_None) {
        struct timespec now;
        if (timespec_get(&now, TIME_UTC) != TIME_UTC)
            return -1;
        *nanoseconds = (int64_t)now.tv_sec * SECOND + now.tv_nsec;
        return 0;
    }
    PyObject *now = PyObject_CallNoArgs(self->now);
    if (now == NULL)
        return -1;
    *nanoseconds = PyLong_AsLongLong(now);
    Py_DECREF(now);
    return *nanoseconds == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Keep when the second of *nanoseconds* began, and how a line of it begins. Returns -1 when that is for Python. */
static int
begin_second(Method *self, int64_t nanoseconds)
{
    PyObject *text, *begun = PyObject_CallFunction(self->new_second, "L", (long long)nanoseconds);
    long long second;
    if (begun == NULL || !PyArg_ParseTuple(begun, "LS", &second, &text)) {
        Py_XDECREF(begun);
        return -1;
    }
    self->second = second;
    Py_XSETREF(self->line_start, Py_NewRef(text));
    Py_DECREF(begun);
    return 0;
}

/* Take the time, and how a line begins at it. Returns -1 when that is for Python. */
static int
take_time(Method *self, Pieces *pieces)
{
    if (read_clock(self, &pieces->now) < 0)
        return -1;
    uint64_t since = (uint64_t)pieces->now - (uint64_t)self->second; /* large for an earlier time too */
    if ((self->line_start == NULL || since >= SECOND) && begin_second(self, pieces->now) < 0)
        return -1;
    pieces->second = self->second;
    pieces->line_start = Py_NewRef(self->line_start);
    return 0;
}

#define NO_NUMBER (~0ULL)

/* Return the next number of the route; NO_NUMBER with an error when there is none. */
static unsigned long long
next_number(const Method *self, PyObject *route)
{
    PyObject *next = hold(route, self->state->route_number);
    PyObject *number = next == NULL ? NULL : PyObject_CallNoArgs(next);
    unsigned long long value = number == NULL ? NO_NUMBER : PyLong_AsUnsignedLongLong(number);
    Py_XDECREF(number);
    Py_XDECREF(next);
    return value;
}

static inline char *
put_bytes(char *to, PyObject *bytes)
{
    memcpy(to, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    return to + PyBytes_GET_SIZE(bytes);
}

/* Return the whole line with its number (a new reference). */
static PyObject *
join(const Method *self, const Pieces *pieces, const char *fields, size_t length)
{
    char number[20];
    unsigned long long value = next_number(self, pieces->route);
    if (value == NO_NUMBER && PyErr_Occurred())
        return NULL;
    size_t digits = (size_t)(put_digits(number, value) - number);
    PyObject *line = PyBytes_FromStringAndSize(
        NULL, PyBytes_GET_SIZE(pieces->line_start) + 6 + PyBytes_GET_SIZE(pieces->head) + (Py_ssize_t)digits +
                  PyBytes_GET_SIZE(pieces->message) + PyBytes_GET_SIZE(pieces->context) + (Py_ssize_t)length);
    if (line == NULL)
        return NULL;
    char *to = put_bytes(PyBytes_AS_STRING(line), pieces->line_start);
    unsigned micro = (unsigned)((pieces->now - pieces->second) / 1000);
    for (int place = 5; place >= 0; place--) {
        to[place] = (char)('0' + micro % 10);
        micro /= 10;
    }
    to = put_bytes(to + 6, pieces->head);
    memcpy(to, number, digits);
    to = put_bytes(to + digits, pieces->message);
    memcpy(put_bytes(to, pieces->context), fields, length);
    return line;
}

static int
is_bytes(PyObject *object)
{
    return object != NULL && PyBytes_CheckExact(object);
}

/* Return the line of a call in *context* (a new reference), and its route; NULL, perhaps with an error, when it is for
   Python. */
static PyObject *
encode_in(Method *self, PyObject *context, PyObject *const *args, PyObject *kwnames, PyObject **route)
{
    const State *state = self->state;
    Pieces pieces = {.route = self->route};
    if (SLOT(context, state->context_trade) != SLOT(self->route, state->route_trade))
        pieces.route = self->other;
    *route = pieces.route;
    int bare = kwnames == NULL || PyTuple_GET_SIZE(kwnames) == 0;
    pieces.message = Py_XNewRef(PyDict_GetItemWithError(self->messages, args[1]));
    pieces.context = Py_XNewRef(SLOT(context, bare ? state->context_alone : state->context_before_fields));
    PyObject *names = Py_XNewRef(SLOT(context, state->context_names)), *line = NULL;
    if (is_bytes(pieces.message) && is_bytes(pieces.context) && names != NULL && PyDict_CheckExact(names)) {
        char fields[ROOM];
        char *end = put_fields(self, fields, fields + ROOM, names, args + 2, kwnames);
        Py_ssize_t length = end == NULL ? self->limit : end - fields;
        if (PyBytes_GET_SIZE(pieces.context) + PyBytes_GET_SIZE(pieces.message) + length < self->limit &&
            is_free(self, pieces.route) > 0 && take_time(self, &pieces) == 0 &&
            is_bytes(pieces.head = hold(pieces.route, state->route_head)))
            line = join(self, &pieces, fields, (size_t)length);
    }
    Py_XDECREF(names);
    Py_XDECREF(pieces.context);
    Py_XDECREF(pieces.message);
    Py_XDECREF(pieces.line_start);
    Py_XDECREF(pieces.head);
    return line;
}

static PyObject *
encode(Method *self, PyObject *const *args, PyObject *kwnames, PyObject **route)
{
    if (!PyUnicode_CheckExact(args[1]) || foreign_is_set(self->foreign))
        return NULL;
    PyObject *context = find_context(self, args[0]);
    if (context == NULL)
        return NULL;
    PyObject *line = encode_in(self, context, args, kwnames, route);
    Py_DECREF(context);
    return line;
}

/* -- from the line to the journal --------------------------------------------------------------------------------- */

/* Returns whether *lane* took *line*; -1 with an error. */
static int
put_line(const State *state, PyObject *lane, PyObject *line)
{
    PyObject *write = PyObject_GetAttr(lane, state->write_name);
    if (write == NULL)
        return -1;
    PyObject *done = PyObject_CallOneArg(write, line);
    Py_DECREF(write);
    if (done != NULL) {
        Py_DECREF(done);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_ValueError))
        return -1;
    PyErr_Clear(); /* the segment is full: on to the next one */
    PyObject *stack[] = {lane, line, Py_True};
    done = PyObject_VectorcallMethod(state->append_name, stack, 2, state->append_keywords);
    int taken = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    return taken;
}

/* Call what a slot of *route* holds, if it is not None. Returns -1 with an error. */
static int
call_slot(PyObject *route, Py_ssize_t offset, PyObject *const *args, size_t count)
{
    if (SLOT(route, offset) == Py_None)
        return 0;
    PyObject *function = hold(route, offset);
    PyObject *done = function == NULL ? NULL : PyObject_Vectorcall(function, args, count, NULL);
    Py_XDECREF(function);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
tell_lost(const State *state, PyObject *route, PyObject *line, Py_ssize_t taken)
{
    PyObject *number = PyLong_FromSsize_t(taken);
    PyObject *args[] = {line, number};
    int result = number == NULL ? -1 : call_slot(route, state->route_lost, args, 2);
    Py_XDECREF(number);
    return result;
}

/* As `deliver` in `encoding/fast.py`. */
static int
deliver(const State *state, PyObject *route, PyObject *line)
{
    PyObject *lanes = hold(route, state->route_lanes);
    if (lanes == NULL)
        return -1;
    Py_ssize_t count = PyTuple_CheckExact(lanes) ? PyTuple_GET_SIZE(lanes) : 0;
    Py_ssize_t taken = 0;
    int result = 0;
    for (Py_ssize_t i = 0; i < count && result >= 0; i++) {
        result = put_line(state, PyTuple_GET_ITEM(lanes, i), line);
        taken += result > 0;
    }
    Py_DECREF(lanes);
    if (result >= 0 && taken < count)
        result = tell_lost(state, route, line, taken);
    if (result >= 0 && (taken || !count))
        result = call_slot(route, state->route_count, NULL, 0);
    return result < 0 ? result : call_slot(route, state->route_after, &line, 1);
}

/* Tell the route of the error that was raised, and return None: a log call raises no Exception. */
static PyObject *
forgive(const State *state, PyObject *route)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyObject *error = PyErr_GetRaisedException();
    if (PyException_SetTraceback(error, Py_None) < 0)
        PyErr_Clear();
    int result = call_slot(route, state->route_failed, &error, 1);
    Py_DECREF(error);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyObject *
log_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Method *self = (Method *)callable;
    if (PyVectorcall_NARGS(nargsf) == 2) {
        PyObject *route;
        PyObject *line = encode(self, args, kwnames, &route);
        if (line != NULL) {
            int result = deliver(self->state, route, line);
            Py_DECREF(line);
            return result < 0 ? forgive(self->state, route) : Py_NewRef(Py_None);
        }
        if (PyErr_Occurred()) { /* the Python function meets the same error, and tells it */
            if (!PyErr_ExceptionMatches(PyExc_Exception))
                return NULL;
            PyErr_Clear();
        }
    }
    PyObject *done = PyObject_Vectorcall(self->plain, args, nargsf, kwnames);
    /* The function catches everything itself, if there is room on the stack for it to begin. */
    return done == NULL && PyErr_ExceptionMatches(PyExc_RecursionError) ? forgive(self->state, self->route) : done;
}
