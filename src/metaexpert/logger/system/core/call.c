/* A log call, compiled: the bytes of the plain chain for the entries that are logged most.

   A call takes its keywords as they come, without a dict of them, encodes its fields (fields.c), and joins them to what
   Python code has encoded before (encoding/fast.py). The Python function that the method stands for gets the rest, with
   the same arguments, and runs the plain chain: unusual values and names, % arguments, exceptions. The core touches no
   memory but that of Python objects: the line goes to the journal by the `write` of its lane.

   Threads: from the number of an entry to its place in the journal no other thread comes in between. */

#include "core.h"
#include <string.h>
#include <time.h>

#define SECOND 1000000000LL

/* Call what a field of a record holds, which other threads, and whatever is called, may replace meanwhile. */
static PyObject *
call_field(PyObject *function, PyObject *const *args, size_t count)
{
    if (function == NULL) {
        PyErr_SetString(PyExc_AttributeError, "a field is empty");
        return NULL;
    }
    Py_INCREF(function);
    PyObject *result = PyObject_Vectorcall(function, args, count, NULL);
    Py_DECREF(function);
    return result;
}

/* -- the pieces of a line ----------------------------------------------------------------------------------------- */

/* Owned, apart from the route, which the method owns. */
typedef struct {
    Route *route;
    PyObject *line_start, *head, *message, *context;
    int64_t second, now;
} Pieces;

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

static inline char *
put_bytes(char *to, PyObject *bytes)
{
    memcpy(to, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    return to + PyBytes_GET_SIZE(bytes);
}

/* Write the whole line, with the next number. */
static void
lay_out(char *to, const Pieces *pieces, Count *numbers, const Buffer *fields)
{
    to = put_bytes(to, pieces->line_start);
    unsigned micro = (unsigned)((pieces->now - pieces->second) / 1000);
    for (int place = 5; place >= 0; place--) {
        to[place] = (char)('0' + micro % 10);
        micro /= 10;
    }
    to = put_bytes(put_digits(put_bytes(to + 6, pieces->head), numbers->value++), pieces->message);
    memcpy(put_bytes(to, pieces->context), fields->start, (size_t)(fields->at - fields->start));
}

/* -- from the line to the journal --------------------------------------------------------------------------------- */

/* Returns whether *lane* took *line*; -1 with an error. */
static int
put_line(const State *state, PyObject *lane, PyObject *line)
{
    PyObject *stack[] = {lane, line, Py_True}, *done = PyObject_VectorcallMethod(state->names.write, stack, 2, NULL);
    int taken = done != NULL;
    if (done == NULL && PyErr_ExceptionMatches(PyExc_ValueError)) { /* the segment is full: on to the next one */
        PyErr_Clear();
        done = PyObject_VectorcallMethod(state->names.append, stack, 2, state->append_keywords);
        taken = done != NULL && PyObject_IsTrue(done);
    }
    Py_XDECREF(done);
    return PyErr_Occurred() ? -1 : taken;
}

/* Tell what a field of a route holds, if it is not None. Returns -1 with an error. */
static int
tell(PyObject *listener, PyObject *const *args, size_t count)
{
    PyObject *done = listener == Py_None ? Py_NewRef(Py_None) : call_field(listener, args, count);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
tell_lost(const Route *route, PyObject *line, Py_ssize_t taken)
{
    PyObject *number = PyLong_FromSsize_t(taken), *args[] = {line, number};
    int result = number == NULL ? -1 : tell(route->lost, args, 2);
    Py_XDECREF(number);
    return result;
}

/* Whether the error that was raised belongs to the program: a signal handler or another thread has raised it in here. */
static int
is_injected(const State *state)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return 1;
    if (state->injected == NULL || PyErr_ExceptionMatches(PyExc_RecursionError) ||
        PyErr_ExceptionMatches(PyExc_MemoryError))
        return 0;
    PyObject *error = PyErr_GetRaisedException();
    PyObject *answer = PyObject_CallOneArg(state->injected, error);
    int result = answer == Py_True;
    Py_XDECREF(answer);
    PyErr_SetRaisedException(error); /* in place of one that the question met */
    return result;
}

/* Tell the route of the error that was raised: a log call raises no Exception but one of the program's. Returns -1 with
   such an error. */
static int
forgive(const State *state, const Route *route)
{
    if (is_injected(state))
        return -1;
    PyObject *error = PyErr_GetRaisedException();
    if (PyException_SetTraceback(error, Py_None) < 0)
        PyErr_Clear();
    int result = tell(route->failed, &error, 1);
    Py_DECREF(error);
    return result;
}

/* Return the tail of the segment of a lane (a new reference); NULL if it is not one of the core. */
static Tail *
tail_of(const State *state, PyObject *lane)
{
    PyObject *write = PyObject_GetAttr(lane, state->names.write);
    PyObject *owner = write != NULL && PyCFunction_CheckExact(write) ? PyCFunction_GET_SELF(write) : NULL;
    Tail *tail = owner != NULL && Py_IS_TYPE(owner, state->types.Tail) ? (Tail *)Py_NewRef(owner) : NULL;
    Py_XDECREF(write);
    PyErr_Clear(); /* whoever calls it next meets the same error */
    return tail;
}

/* Append a line to *lanes*, the first one without a copy, count it, and do what is due. Returns -1 with an error. */
static int
append(const State *state, const Pieces *pieces, const Buffer *fields, Count *numbers, PyObject *lanes)
{
    const Route *route = pieces->route;
    Py_ssize_t count = PyTuple_GET_SIZE(lanes), taken = 0;
    PyObject *line = NULL;
    Tail *tail = count ? tail_of(state, PyTuple_GET_ITEM(lanes, 0)) : NULL; /* from here on the number is settled */
    char number[20], *to;
    unsigned long long own = numbers->value;
    Py_ssize_t length = PyBytes_GET_SIZE(pieces->line_start) + 6 + PyBytes_GET_SIZE(pieces->head) +
                        (put_digits(number, numbers->value) - number) + PyBytes_GET_SIZE(pieces->message) +
                        PyBytes_GET_SIZE(pieces->context) + (fields->at - fields->start);
    if (tail != NULL && (to = claim(tail, length)) != NULL) {
        lay_out(to, pieces, numbers, fields);
        if (count > 1 || route->after != Py_None)
            line = PyBytes_FromStringAndSize(to, length);
        taken = 1;
    }
    else if ((line = PyBytes_FromStringAndSize(NULL, length)) != NULL)
        lay_out(PyBytes_AS_STRING(line), pieces, numbers, fields);
    Py_XDECREF(tail);
    int result = PyErr_Occurred() ? -1 : 0; /* no memory */
    for (Py_ssize_t i = taken; i < count && result >= 0; i++) {
        result = put_line(state, PyTuple_GET_ITEM(lanes, i), line);
        taken += result > 0;
    }
    if (result >= 0 && taken < count)
        result = tell_lost(route, line, taken);
    if (result >= 0 && (taken || !count) && route->count != NULL && Py_IS_TYPE(route->count, state->types.Count))
        ((Count *)route->count)->value++;
    if (result >= 0)
        result = tell(route->after, &line, 1);
    if (result < 0 && !taken && count && numbers->value == own + 1)
        numbers->value = own; /* no entry has it, and none has come since */
    Py_XDECREF(line);
    return result;
}

/* As `deliver` in `encoding/route.py`. Returns whether it was done; -1 with an error that is the caller's. */
static int
deliver(const State *state, const Pieces *pieces, const Buffer *fields)
{
    PyObject *lanes = pieces->route->lanes, *numbers = pieces->route->numbers;
    if (lanes == NULL || !PyTuple_CheckExact(lanes) || numbers == NULL || !Py_IS_TYPE(numbers, state->types.Count))
        return 0;
    Py_INCREF(lanes);
    Py_INCREF(numbers);
    int result = append(state, pieces, fields, (Count *)numbers, lanes);
    Py_DECREF(lanes);
    Py_DECREF(numbers);
    return result < 0 && forgive(state, pieces->route) < 0 ? -1 : 1;
}

/* -- a call ------------------------------------------------------------------------------------------------------- */

static int
is_bytes(PyObject *object)
{
    return object != NULL && PyBytes_CheckExact(object);
}

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
        if (is_bytes(pieces.message) && put_fields(self, &fields, (PyObject *)context, args + 2, kwnames) == 0 &&
            PyBytes_GET_SIZE(pieces.context) + PyBytes_GET_SIZE(pieces.message) + fields.at - fields.start <
                self->limit &&
            is_free(pieces.route) > 0 && take_time(self, &pieces) == 0 &&
            is_bytes(pieces.head = Py_XNewRef(pieces.route->head)))
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
