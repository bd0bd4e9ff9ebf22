/* A log call, compiled: the bytes of the plain chain for the entries that are logged most.

   A call takes its keywords as they come, without a dict of them, encodes its fields (fields.c), and joins them to what
   Python code has encoded before (encoding/fast.py). The Python function that the method stands for gets the rest, with
   the same arguments, and runs the plain chain: unusual values and names, % arguments, exceptions. The line goes to the
   journal in deliver.c. */

#include "core.h"
#include <string.h>
#include <time.h>

#define SECOND 1000000000LL

/* -- the pieces of a line ----------------------------------------------------------------------------------------- */

/* Return the context frame that is active (a new reference), or None; NULL with an error. */
static PyObject *
active_frame(const Method *self)
{
    const State *state = self->state;
    PyObject *frame;
    if (PyContextVar_Get(self->current_frame, Py_None, &frame) < 0)
        return NULL;
    if (state->own_blocks != NULL && PyDict_GET_SIZE(state->own_blocks) > 0)
        Py_SETREF(frame, PyObject_CallOneArg(state->active_in, frame));
    return frame;
}

/* Return the bound context (a new reference) of a call of *logger*, inside the context frame that is active; NULL with
   an error. */
static PyObject *
find_context(const Method *self, PyObject *logger)
{
    const State *state = self->state;
    PyObject *frame = NULL, *context = PyObject_GetAttr(logger, state->names._bound_context);
    if (context == NULL || (frame = active_frame(self)) == NULL) {
        Py_XDECREF(context);
        return NULL;
    }
    PyObject *stack[] = {self->encoder, frame, logger};
    if (Py_IS_TYPE(frame, state->types.ContextFrame)) {
        PyObject *encoded = ((ContextFrame *)frame)->encoded;
        PyObject *inner = encoded && PyDict_CheckExact(encoded) ? PyDict_GetItemWithError(encoded, context) : NULL;
        Py_SETREF(context, inner ? Py_NewRef(inner) :
                           PyErr_Occurred() ? NULL : PyObject_VectorcallMethod(state->names.context_in, stack, 3, NULL));
    }
    if (context != NULL && !(Py_IS_TYPE(context, state->types.BoundContext) &&
                             ((BoundContext *)context)->generation == state->generation))
        Py_SETREF(context, PyObject_VectorcallMethod(state->names.renewed, stack, 3, NULL));
    Py_DECREF(frame);
    if (context != NULL && !Py_IS_TYPE(context, state->types.BoundContext)) {
        PyErr_SetString(PyExc_TypeError, "not a bound context");
        Py_CLEAR(context);
    }
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
is_free(const Route *route)
{
    PyObject *answer = route->check == Py_None ? Py_NewRef(Py_True) : call_field(route->check, NULL, 0);
    int result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
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

/* Keep when the second of *nanoseconds* began, and how a line of it begins. Returns -1 with an error. */
static int
begin_second(Method *self, int64_t nanoseconds)
{
    PyObject *text, *begun = PyObject_CallFunction(self->new_second, "L", (long long)nanoseconds);
    long long second;
    int result = begun != NULL && PyArg_ParseTuple(begun, "LS", &second, &text) ? 0 : -1;
    if (result == 0) {
        self->second = second;
        Py_XSETREF(self->line_start, Py_NewRef(text));
    }
    Py_XDECREF(begun);
    return result;
}

/* Take the time, and how a line begins at it. Returns -1, perhaps with an error, when it cannot be had. */
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

/* -- a call ------------------------------------------------------------------------------------------------------- */

/* Log a call in *context*. Returns whether that was done; if not, perhaps with an error, it is for the plain chain. */
static int
log_in(Method *self, BoundContext *context, PyObject *const *args, PyObject *kwnames)
{
    Pieces pieces = {.route = context->trade == self->route->trade ? self->route : self->other};
    int bare = kwnames == NULL || PyTuple_GET_SIZE(kwnames) == 0;
    pieces.context = Py_XNewRef(bare ? context->alone : context->before_fields);
    int done = 0;
    if (is_bytes(pieces.context)) {
        Buffer fields;
        fields.start = fields.at = fields.room;
        fields.end = fields.room + ROOM;
        fields.limit = self->limit;
        fields.asked = 0;
        pieces.message = look_up(self, &fields, self->messages, args[1], self->state->names.message, NULL);
        if (is_bytes(pieces.message) && put_fields(self, &fields, context, args + 2, kwnames) == 0 &&
            PyBytes_GET_SIZE(pieces.context) + PyBytes_GET_SIZE(pieces.message) + fields.at - fields.start <
                self->limit &&
            is_free(pieces.route) > 0 && take_time(self, &pieces) == 0)
            done = deliver(self->state, &pieces, &fields);
        if (fields.start != fields.room)
            PyMem_Free(fields.start);
    }
    Py_XDECREF(pieces.context);
    Py_XDECREF(pieces.message);
    Py_XDECREF(pieces.line_start);
    Py_XDECREF(pieces.head);
    return done;
}

/* The Python function catches everything itself, if there is room on the stack for it to begin. */
static PyObject *
call_plain(const Method *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *done = PyObject_Vectorcall(self->plain, args, nargsf, kwnames);
    if (done == NULL && PyErr_ExceptionMatches(PyExc_RecursionError) && forgive(self->state, self->route) == 0)
        return Py_NewRef(Py_None);
    return done;
}

PyObject *
log_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Method *self = (Method *)callable;
    if (PyVectorcall_NARGS(nargsf) == 2 && PyUnicode_CheckExact(args[1]) && !foreign_is_set(self->foreign)) {
        PyObject *context = find_context(self, args[0]);
        int done = context == NULL ? 0 : log_in(self, (BoundContext *)context, args, kwnames);
        Py_XDECREF(context);
        if (done)
            return done < 0 ? NULL : Py_NewRef(Py_None);
    }
    if (PyErr_Occurred()) { /* the plain chain meets the same error, and tells it */
        if (is_injected(self->state))
            return NULL;
        PyErr_Clear();
    }
    return call_plain(self, args, nargsf, kwnames);
}

/* Whether one of the keywords is `alert`. */
static int
asks_for_alert(const State *state, PyObject *kwnames)
{
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (name == state->alert || (PyUnicode_GET_LENGTH(name) == PyUnicode_GET_LENGTH(state->alert) &&
                                     PyUnicode_Compare(name, state->alert) == 0))
            return 1;
    }
    return 0;
}

/* A call of a level that is off. Inside a trade context every level counts, as do alerts. */
PyObject *
disabled_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Method *self = (Method *)callable;
    if (PyVectorcall_NARGS(nargsf) > 0) {
        PyObject *frame = active_frame(self);
        if (frame == NULL)
            return NULL;
        int lifts = Py_IS_TYPE(frame, self->state->types.ContextFrame) && ((ContextFrame *)frame)->lifts == Py_True;
        Py_DECREF(frame);
        if (!lifts && !asks_for_alert(self->state, kwnames))
            return Py_NewRef(Py_None);
    }
    return call_plain(self, args, nargsf, kwnames);
}
