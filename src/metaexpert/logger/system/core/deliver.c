/* The line of a call, from its pieces to the ends of its lanes: all of them take it, or none. It is laid out in the map
   of the first, and copied to the others.

   Threads: from the number of an entry to its place in the journal no other thread comes in between. */

#include "core.h"
#include <string.h>

/* Room was made; another thread may take it first. After so many times each lane takes the line for itself. */
enum { TRY_AGAIN = 2, MOST_TRIES = 100 };

/* Call what a field of a record holds, which other threads, and whatever is called, may replace meanwhile. */
PyObject *
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
int
is_injected(const State *state)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return 1;
    if (state->injected == NULL || PyErr_ExceptionMatches(PyExc_RecursionError) ||
        PyErr_ExceptionMatches(PyExc_MemoryError))
        return 0;
    PyObject *error = PyErr_GetRaisedException();
    PyObject *answer = PyObject_CallOneArg(state->injected, error);
    if (answer == NULL && !PyErr_ExceptionMatches(PyExc_RecursionError) && !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        Py_DECREF(error); /* the answer was interrupted: what did that is the program's, and passes */
        return 1;
    }
    int result = answer == Py_True;
    Py_XDECREF(answer);
    PyErr_SetRaisedException(error); /* in place of one that the question met */
    return result;
}

/* Tell the route of the error that was raised: a log call raises no Exception but one of the program's. Returns -1 with
   such an error. */
int
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
    int ours = PyObject_TypeCheck(lane, state->types.Lane);
    PyObject *write = ours ? Py_XNewRef(((Lane *)lane)->write) : PyObject_GetAttr(lane, state->names.write);
    PyObject *owner = write != NULL && PyCFunction_CheckExact(write) ? PyCFunction_GET_SELF(write) : NULL;
    Tail *tail = owner != NULL && Py_IS_TYPE(owner, state->types.Tail) ? (Tail *)Py_NewRef(owner) : NULL;
    Py_XDECREF(write);
    PyErr_Clear(); /* whoever calls it next meets the same error */
    return tail;
}

/* An entry goes to all of its lanes or to none: it is more than they are. */
enum { MOST_LANES = 8 };

typedef struct {
    Tail *tail; /* owned */
    char *at;
} Place;

static void
release(Place *places, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        Py_XDECREF(places[i].tail);
}

/* Hold the tails of *lanes*. Returns whether each has one. */
static int
hold(const State *state, PyObject *lanes, Place *places)
{
    Py_ssize_t count = PyTuple_GET_SIZE(lanes);
    for (Py_ssize_t i = 0; i < count && i < MOST_LANES; i++)
        if ((places[i].tail = tail_of(state, PyTuple_GET_ITEM(lanes, i))) == NULL) {
            release(places, i);
            return 0;
        }
    return count <= MOST_LANES;
}

/* Claim *length* bytes at each place, or none. No Python code runs from here until they are filled. */
static int
claim_all(Place *places, Py_ssize_t count, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < count; i++)
        if ((places[i].at = claim(places[i].tail, length)) == NULL) {
            while (i--)
                places[i].tail->position -= length;
            return 0;
        }
    return 1;
}

/* Have the lines that were claimed seen by whoever writes them. */
static void
publish(const Place *places, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        PUBLISH(places[i].tail);
}

/* Returns whether each of *lanes* has room for a line of *length* bytes, if nobody else takes it; -1 with an error. */
static int
make_room(const State *state, PyObject *lanes, Py_ssize_t length)
{
    PyObject *number = PyLong_FromSsize_t(length);
    int result = number == NULL ? -1 : 1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lanes) && result > 0; i++) {
        PyObject *stack[] = {PyTuple_GET_ITEM(lanes, i), number};
        PyObject *answer = PyObject_VectorcallMethod(state->names.make_room, stack, 2, NULL);
        result = answer == NULL ? -1 : answer == Py_True;
        Py_XDECREF(answer);
    }
    Py_XDECREF(number);
    return result;
}

/* Count an entry that *taken* of its lanes have, and do what is due. Returns -1 with an error. */
static int
conclude(const State *state, const Route *route, PyObject *line, Py_ssize_t taken, Py_ssize_t count)
{
    int result = taken < count ? tell_lost(route, line, taken) : 0;
    if (result >= 0 && (taken || !count) && route->count != NULL && Py_IS_TYPE(route->count, state->types.Count))
        ((Count *)route->count)->value++;
    return result < 0 ? -1 : tell(route->after, &line, 1);
}

static Py_ssize_t
length_of(const Pieces *pieces, const Buffer *fields, const Count *numbers)
{
    char number[20];
    return PyBytes_GET_SIZE(pieces->line_start) + 6 + PyBytes_GET_SIZE(pieces->head) +
           (put_digits(number, numbers->value) - number) + PyBytes_GET_SIZE(pieces->message) +
           PyBytes_GET_SIZE(pieces->context) + (fields->at - fields->start);
}

/* Append a line to each lane that takes it, or to none at all. Returns -1 with an error. */
static int
append_each(const State *state, const Pieces *pieces, const Buffer *fields, Count *numbers, PyObject *lanes)
{
    Py_ssize_t count = PyTuple_GET_SIZE(lanes), taken = 0;
    unsigned long long own = numbers->value;
    PyObject *line = PyBytes_FromStringAndSize(NULL, length_of(pieces, fields, numbers));
    int result = line == NULL ? -1 : 0;
    if (line != NULL)
        lay_out(PyBytes_AS_STRING(line), pieces, numbers, fields);
    for (Py_ssize_t i = 0; i < count && result >= 0; i++) {
        result = put_line(state, PyTuple_GET_ITEM(lanes, i), line);
        taken += result > 0;
    }
    if (result >= 0)
        result = conclude(state, pieces->route, line, taken, count);
    if (result < 0 && !taken && count && numbers->value == own + 1)
        numbers->value = own; /* no entry has it, and none has come since */
    Py_XDECREF(line);
    return result;
}

/* Append a line to the ends of all *lanes*. Returns whether there was room; -1 with an error. */
static int
append(const State *state, const Pieces *pieces, const Buffer *fields, Count *numbers, PyObject *lanes, int tries)
{
    Py_ssize_t count = PyTuple_GET_SIZE(lanes);
    Place places[MOST_LANES];
    int held = count > 0 && hold(state, lanes, places);
    Py_ssize_t length = length_of(pieces, fields, numbers); /* from here on the number is settled */
    if (!held || !claim_all(places, count, length)) {
        if (held)
            release(places, count);
        int room = count ? make_room(state, lanes, length) : 1;
        if (room > 0 && (!count || tries == MOST_TRIES))
            return append_each(state, pieces, fields, numbers, lanes) < 0 ? -1 : 1;
        return room > 0 ? TRY_AGAIN : room;
    }
    lay_out(places[0].at, pieces, numbers, fields);
    for (Py_ssize_t i = 1; i < count; i++)
        memcpy(places[i].at, places[0].at, (size_t)length);
    publish(places, count);
    PyObject *line = pieces->route->after == Py_None ? NULL : PyBytes_FromStringAndSize(places[0].at, length);
    release(places, count);
    return PyErr_Occurred() || conclude(state, pieces->route, line, count, count) < 0 ? -1 : 1;
}

/* As `deliver` in `encoding/route.py`. Returns whether it was done; -1 with an error that is the caller's. An entry that
   has no room is for the plain chain, which may wait. */
int
deliver(const State *state, Pieces *pieces, const Buffer *fields)
{
    int result = TRY_AGAIN;
    for (int tries = 1; result == TRY_AGAIN; tries++) {
        /* Read anew each time: whatever made room may have found that this is another process by now. */
        PyObject *lanes = pieces->route->lanes, *numbers = pieces->route->numbers;
        Py_XSETREF(pieces->head, Py_XNewRef(pieces->route->head));
        if (lanes == NULL || !PyTuple_CheckExact(lanes) || numbers == NULL ||
            !Py_IS_TYPE(numbers, state->types.Count) || !is_bytes(pieces->head))
            return 0;
        Py_INCREF(lanes);
        Py_INCREF(numbers);
        result = append(state, pieces, fields, (Count *)numbers, lanes, tries);
        Py_DECREF(lanes);
        Py_DECREF(numbers);
    }
    return result < 0 ? (forgive(state, pieces->route) < 0 ? -1 : 1) : result;
}

/* For the plain chain: take(lanes, numbers, line, number). */
static PyObject *
take(PyObject *module, PyObject *args)
{
    const State *state = PyModule_GetState(module);
    PyObject *lanes, *line;
    Count *numbers;
    unsigned long long number;
    Place places[MOST_LANES];
    if (!PyArg_ParseTuple(args, "O!O!O!K", &PyTuple_Type, &lanes, state->types.Count, &numbers, &PyBytes_Type, &line,
                          &number))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(lanes), length = PyBytes_GET_SIZE(line);
    if (!hold(state, lanes, places))
        Py_RETURN_NONE;
    int taken = numbers->value == number && claim_all(places, count, length);
    for (Py_ssize_t i = 0; i < count && taken; i++)
        memcpy(places[i].at, PyBytes_AS_STRING(line), (size_t)length);
    publish(places, count);
    numbers->value += (unsigned)taken;
    release(places, count);
    return PyBool_FromLong(taken);
}

PyMethodDef deliver_functions[] = {
    {"take", take, METH_VARARGS,
     "take(lanes, numbers, line, number): append a line with that number to all lanes, if it is the next and there is\n"
     "room. Returns whether it did; None, and nothing is done, when a lane has no open segment of the core."},
    {0},
};

