/* The log call of fast.py, compiled: the same bytes for the entries that are logged most.

   A call takes its keywords as they come, without making a dict of them, encodes ASCII text, integers, decimal
   fractions, booleans, None, and what has a short text of its own (values.py: TEXTS), and joins them to what Python code has encoded before (fast.py: Route, BoundContext, Encoder).
   Everything else (other values, characters that need a look, names and messages that come for the first time, %
   arguments, exceptions) is left to the Python function that it stands for, with the same arguments. It is optional:
   without it that function is called directly.

   No memory is touched but Python objects: the line goes to the journal by the `write` of its lane, as it does there.

   Threads: relies on the interpreter lock; from the number of an entry to its place in the journal no other thread
   comes in between. fast.py does not use it on an interpreter that runs without the lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define SECOND 1000000000LL
/* Fields of a call that need more bytes are left to Python. */
#define ROOM 2048
/* The longest number: a sign and 19 digits, or a fraction of 15 digits with zeros and a point. */
#define LONGEST_NUMBER 24
/* Doubles with at most so many digits have exactly one such decimal form (DBL_DIG). */
#define EXACT_DIGITS 1e15
#define MOST_DECIMALS 12

/* Where the slots of the Python classes lie in their instances; found once. */
static Py_ssize_t route_head, route_lanes, route_count, route_check, route_after, route_number, route_lost, route_failed, route_trade;
static Py_ssize_t context_comma, context_bare, context_names, context_trade, context_generation, frame_encoded;
static PyObject *route_type, *context_type, *frame_type;
/* The state of the register of secrets: forms of another one are for Python to renew. */
static PyObject *generation;
static PyObject *str_form, *str_write, *str_append, *append_keywords;

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *dict;
    PyObject *plain;    /* the Python function */
    PyObject *way;      /* where entries go */
    PyObject *other;    /* where they go when a context makes trades of them, or the reverse */
    PyObject *messages; /* dict: message -> its piece of the line */
    PyObject *frames;   /* ContextVar of log_context */
    PyObject *foreign;  /* dict of structlog's contextvars */
    PyObject *form_in;  /* Encoder.form_in */
    PyObject *turn;     /* Encoder.turn */
    PyObject *now;      /* clock; NULL for the system's */
    PyObject *texts;    /* dict: type -> function that returns the text of a value; see values.py */
    PyObject *screen;    /* bytearray: what a text must not hold; see fast.py */
    PyObject *text;     /* how a line of this second begins */
    int64_t start;      /* when it began, in nanoseconds */
    Py_ssize_t limit;   /* longer lines are for Python */
} Method;

/* -- numbers ------------------------------------------------------------------------------------------------------ */

static char *
put_digits(char *to, unsigned long long value)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        *to++ = digits[--count];
    return to;
}

static char *
put_integer(char *to, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return NULL;
    if (number < 0)
        *to++ = '-';
    return put_digits(to, number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number);
}

/* A double that is a decimal fraction of at most 15 digits, as nearly every price and size is. That fraction is then
   its shortest form: two of them never mean the same double. Anything else is for orjson. */
static char *
put_fraction(char *to, double value)
{
    if (FLT_EVAL_METHOD != 0) /* the divisions below must round to a double */
        return NULL;
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
    double size = value < 0 ? -value : value;
    if (value == 0 && !signbit(value)) {
        memcpy(to, "0.0", 3);
        return to + 3;
    }
    if (!(size >= 1e-4 && size < EXACT_DIGITS)) /* also NaN */
        return NULL;
    for (int decimals = 0; decimals <= MOST_DECIMALS; decimals++) {
        double scaled = size * powers[decimals];
        if (scaled >= EXACT_DIGITS)
            return NULL;
        unsigned long long whole = (unsigned long long)(scaled + 0.5);
        if ((double)whole / powers[decimals] != size)
            continue;
        if (value < 0)
            *to++ = '-';
        unsigned long long unit = (unsigned long long)powers[decimals];
        to = put_digits(to, whole / unit);
        *to++ = '.';
        if (decimals == 0) {
            *to++ = '0';
            return to;
        }
        unsigned long long rest = whole % unit;
        for (int place = decimals - 1; place >= 0; place--) {
            to[place] = (char)('0' + rest % 10);
            rest /= 10;
        }
        return to + decimals;
    }
    return NULL;
}

/* -- secrets ------------------------------------------------------------------------------------------------------ */

/* The layout of the screen (fast.py): flags for each character, 1 for what JSON escapes and 2 for what stands between a
   name and a secret; the length from which on a text is looked at as a whole; whether integers may be secrets; and a
   set of three or four characters in a row of which each text with another kind of secret holds one. The set is of
   hashes: it may send a text to Python for nothing, and never keeps one from it. */
#define ESCAPED 1
#define BETWEEN 2
#define SCREEN_LENGTH 256
#define SCREEN_NUMBERS 257
#define SCREEN_BITS 258
#define SCREEN_SIZE (SCREEN_BITS + 16384)

static inline int
is_marked(const unsigned char *screen, uint32_t packed)
{
    uint32_t bit = (uint32_t)(packed * UINT32_C(2654435761)) >> 15; /* Knuth's multiplicative hash */
    return screen[SCREEN_BITS + (bit >> 3)] >> (bit & 7) & 1;
}

/* Returns whether three or four characters in a row are such that only Python can say whether the text holds a secret. */
static int
may_be_secret(const unsigned char *text, Py_ssize_t length, const unsigned char *screen)
{
    for (Py_ssize_t i = 0; i + 2 < length; i++) {
        uint32_t three = (uint32_t)text[i] << 16 | (uint32_t)text[i + 1] << 8 | text[i + 2];
        if (is_marked(screen, three) || (text[i] == '-' && text[i + 1] == '-'))
            return 1;
        if (i + 3 < length && is_marked(screen, three << 8 | text[i + 3]))
            return 1;
    }
    return 0;
}

/* -- one call's fields -------------------------------------------------------------------------------------------- */

static char *
put_text(char *to, const char *end, PyObject *value, const unsigned char *screen, unsigned char flags)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(value);
    if (!PyUnicode_IS_COMPACT_ASCII(value) || end - to < length + 2)
        return NULL;
    const unsigned char *from = PyUnicode_1BYTE_DATA(value);
    unsigned char stop = 0;
    *to++ = '"';
    for (Py_ssize_t i = 0; i < length; i++) {
        stop |= screen[from[i]];
        to[i] = (char)from[i];
    }
    to[length] = '"';
    if ((stop & flags) || (length >= screen[SCREEN_LENGTH] && may_be_secret(from, length, screen)))
        return NULL;
    return to + length + 1;
}

/* The text of a Decimal, a datetime and the like. */
static char *
put_text_of(char *to, const char *end, PyObject *value, const unsigned char *screen, PyObject *texts)
{
    PyObject *convert = PyDict_GetItemWithError(texts, (PyObject *)Py_TYPE(value));
    if (convert == NULL)
        return NULL;
    PyObject *text = PyObject_CallOneArg(convert, value);
    if (text == NULL)
        return NULL;
    to = PyUnicode_CheckExact(text) ? put_text(to, end, text, screen, ESCAPED) : NULL;
    Py_DECREF(text);
    return to;
}

static char *
put_value(char *to, const char *end, PyObject *value, const unsigned char *screen, PyObject *texts)
{
    if (PyUnicode_CheckExact(value))
        return put_text(to, end, value, screen, ESCAPED | BETWEEN);
    if (end - to < LONGEST_NUMBER)
        return NULL;
    if (PyFloat_CheckExact(value))
        return put_fraction(to, PyFloat_AS_DOUBLE(value));
    if (PyLong_CheckExact(value))
        return screen[SCREEN_NUMBERS] ? NULL : put_integer(to, value);
    const char *word = value == Py_True ? "true" : value == Py_False ? "false" : value == Py_None ? "null" : NULL;
    if (word == NULL)
        return put_text_of(to, end, value, screen, texts);
    size_t length = strlen(word);
    memcpy(to, word, length);
    return to + length;
}

/* Write `"name":value,…}` and a newline. Returns the end, or NULL when that is for Python. */
static char *
put_fields(char *to, const char *end, PyObject *names, PyObject *const *values, PyObject *kwnames,
           const unsigned char *screen, PyObject *texts)
{
    Py_ssize_t count = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        PyObject *piece = PyUnicode_CheckExact(name) ? PyDict_GetItemWithError(names, name) : NULL;
        if (piece == NULL || !PyBytes_CheckExact(piece))
            return NULL;
        Py_ssize_t length = PyBytes_GET_SIZE(piece);
        if (end - to < length + 3)
            return NULL;
        memcpy(to, PyBytes_AS_STRING(piece), length);
        to = put_value(to + length, end - 2, values[i], screen, texts);
        if (to == NULL)
            return NULL;
        *to++ = ',';
    }
    if (count)
        to--;
    *to++ = '}';
    *to++ = '\n';
    return to;
}

/* -- what the line is joined from --------------------------------------------------------------------------------- */

/* Return the form (a new reference) and the way of a call of *logger* in the context of this moment; NULL, perhaps
   without an error, when Python has to find them. */
static PyObject *
find_form(Method *self, PyObject *logger, PyObject **path)
{
    PyObject *frame = NULL;
    *path = self->way;
    PyObject *form = PyObject_GetAttr(logger, str_form);
    if (form == NULL || PyContextVar_Get(self->frames, Py_None, &frame) < 0) {
        Py_XDECREF(form);
        return NULL;
    }
    if (frame != Py_None && PyObject_TypeCheck(frame, (PyTypeObject *)frame_type)) {
        PyObject *encoded = SLOT(frame, frame_encoded);
        PyObject *inner = encoded && PyDict_CheckExact(encoded) ? PyDict_GetItemWithError(encoded, form) : NULL;
        inner = inner ? Py_NewRef(inner)
                      : PyErr_Occurred() ? NULL : PyObject_CallFunctionObjArgs(self->form_in, frame, logger, NULL);
        Py_SETREF(form, inner);
    }
    Py_DECREF(frame);
    if (form == NULL || !PyObject_TypeCheck(form, (PyTypeObject *)context_type)) {
        Py_XDECREF(form);
        return NULL;
    }
    if (SLOT(form, context_trade) != SLOT(self->way, route_trade))
        *path = self->other;
    return form;
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

static int
read_clock(Method *self, int64_t *moment)
{
    if (self->now == NULL) {
        struct timespec now;
        if (timespec_get(&now, TIME_UTC) != TIME_UTC)
            return -1;
        *moment = (int64_t)now.tv_sec * SECOND + now.tv_nsec;
        return 0;
    }
    PyObject *now = PyObject_CallNoArgs(self->now);
    if (now == NULL)
        return -1;
    *moment = PyLong_AsLongLong(now);
    Py_DECREF(now);
    return *moment == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Keep how a line of the second of *moment* begins. Returns -1 when that is for Python to say. */
static int
turn_second(Method *self, int64_t moment)
{
    int64_t second = moment / SECOND - (moment % SECOND < 0);
    PyObject *turned = PyObject_CallFunction(self->turn, "L", (long long)second);
    if (turned == NULL)
        return -1;
    PyObject *text;
    long long start;
    if (!PyArg_ParseTuple(turned, "LS", &start, &text)) {
        Py_DECREF(turned);
        return -1;
    }
    Py_INCREF(text);
    Py_XSETREF(self->text, text);
    self->start = start;
    Py_DECREF(turned);
    return 0;
}

#define JOIN(bytes) (memcpy(to, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)), to += PyBytes_GET_SIZE(bytes))

/* Return the whole line with its number (a new reference). */
static PyObject *
join(Method *self, PyObject *path, int64_t moment, PyObject *message, PyObject *fixed, const char *rest, size_t length)
{
    char number[20];
    PyObject *counted = PyObject_CallNoArgs(SLOT(path, route_number));
    if (counted == NULL)
        return NULL;
    unsigned long long value = PyLong_AsUnsignedLongLong(counted);
    Py_DECREF(counted);
    PyObject *head = SLOT(path, route_head);
    if ((value == (unsigned long long)-1 && PyErr_Occurred()) || !PyBytes_CheckExact(head))
        return NULL;
    size_t digits = (size_t)(put_digits(number, value) - number);
    Py_ssize_t size = PyBytes_GET_SIZE(self->text) + 6 + PyBytes_GET_SIZE(head) + (Py_ssize_t)digits +
                      PyBytes_GET_SIZE(message) + PyBytes_GET_SIZE(fixed) + (Py_ssize_t)length;
    PyObject *line = PyBytes_FromStringAndSize(NULL, size);
    if (line == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(line);
    JOIN(self->text);
    unsigned micro = (unsigned)((moment - self->start) / 1000);
    for (int place = 5; place >= 0; place--) {
        to[place] = (char)('0' + micro % 10);
        micro /= 10;
    }
    to += 6;
    JOIN(head);
    memcpy(to, number, digits);
    to += digits;
    JOIN(message);
    JOIN(fixed);
    memcpy(to, rest, length);
    return line;
}

/* Return the line of a call (a new reference), and its way; NULL, perhaps with an error, when it is for Python. */
static PyObject *
encode(Method *self, PyObject *const *args, PyObject *kwnames, PyObject **path)
{
    char rest[ROOM];
    PyObject *line = NULL;
    if (!PyUnicode_CheckExact(args[1]) || foreign_is_set(self->foreign))
        return NULL;
    PyObject *form = find_form(self, args[0], path);
    if (form == NULL)
        return NULL;
    PyObject *names = SLOT(form, context_names), *head = SLOT(*path, route_head), *check = SLOT(*path, route_check);
    PyObject *fixed = SLOT(form, kwnames != NULL && PyTuple_GET_SIZE(kwnames) ? context_comma : context_bare);
    PyObject *message = PyDict_GetItemWithError(self->messages, args[1]);
    if (message == NULL || SLOT(form, context_generation) != generation || !names || !PyDict_CheckExact(names) || !fixed || !PyBytes_CheckExact(fixed) || !head ||
        !PyBytes_CheckExact(head) || !check || PyByteArray_GET_SIZE(self->screen) != SCREEN_SIZE) {
        Py_DECREF(form);
        return NULL;
    }
    /* Held while the code of a value (a time zone's, say) runs, which may replace them, as other threads may. */
    Py_INCREF(message);
    Py_INCREF(fixed);
    Py_INCREF(names);
    Py_INCREF(check);
    const unsigned char *screen = (const unsigned char *)PyByteArray_AS_STRING(self->screen);
    char *end = put_fields(rest, rest + ROOM, names, args + 2, kwnames, screen, self->texts);
    if (end == NULL || PyBytes_GET_SIZE(fixed) + PyBytes_GET_SIZE(message) + (end - rest) >= self->limit)
        goto done;
    if (check != Py_None) {
        PyObject *free = PyObject_CallNoArgs(check);
        int yes = free == NULL ? -1 : PyObject_IsTrue(free);
        Py_XDECREF(free);
        if (yes <= 0)
            goto done;
    }
    int64_t moment;
    if (read_clock(self, &moment) < 0)
        goto done;
    if ((moment < self->start || moment - self->start >= SECOND) && turn_second(self, moment) < 0)
        goto done;
    line = join(self, *path, moment, message, fixed, rest, (size_t)(end - rest));
done:
    Py_DECREF(message);
    Py_DECREF(fixed);
    Py_DECREF(names);
    Py_DECREF(check);
    Py_DECREF(form);
    return line;
}

/* -- the way of a line -------------------------------------------------------------------------------------------- */

/* Returns whether *lane* took *line*; -1 with an error. */
static int
put_line(PyObject *lane, PyObject *line)
{
    PyObject *write = PyObject_GetAttr(lane, str_write);
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
    done = PyObject_VectorcallMethod(str_append, stack, 2, append_keywords);
    int taken = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    return taken;
}

static int
call(PyObject *function, PyObject *line)
{
    Py_INCREF(function);
    PyObject *done = line == NULL ? PyObject_CallNoArgs(function) : PyObject_CallOneArg(function, line);
    Py_DECREF(function);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* As `deliver` in fast.py. */
static int
deliver(PyObject *path, PyObject *line)
{
    PyObject *lanes = Py_NewRef(SLOT(path, route_lanes));
    Py_ssize_t count = PyTuple_CheckExact(lanes) ? PyTuple_GET_SIZE(lanes) : 0;
    Py_ssize_t taken = 0;
    int result = 0;
    for (Py_ssize_t i = 0; i < count && result >= 0; i++) {
        result = put_line(PyTuple_GET_ITEM(lanes, i), line);
        taken += result > 0;
    }
    Py_DECREF(lanes);
    if (result >= 0 && taken < count) {
        PyObject *told = PyObject_CallFunction(SLOT(path, route_lost), "On", line, taken);
        result = told == NULL ? -1 : 0;
        Py_XDECREF(told);
    }
    if (result >= 0 && (taken || !count))
        result = call(SLOT(path, route_count), NULL);
    PyObject *after = SLOT(path, route_after);
    if (result >= 0 && after != Py_None)
        result = call(after, line);
    return result;
}

/* Tell the way of the error that was raised, and return None: a log call raises none. */
static PyObject *
forgive(PyObject *path)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyObject *error = PyErr_GetRaisedException();
    if (PyException_SetTraceback(error, Py_None) < 0)
        PyErr_Clear();
    PyObject *failed = Py_NewRef(SLOT(path, route_failed));
    PyObject *told = PyObject_CallOneArg(failed, error);
    Py_DECREF(failed);
    Py_DECREF(error);
    Py_XDECREF(told);
    if (told == NULL)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
log_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Method *self = (Method *)callable;
    if (PyVectorcall_NARGS(nargsf) == 2) {
        PyObject *path;
        PyObject *line = encode(self, args, kwnames, &path);
        if (line != NULL) {
            int result = deliver(path, line);
            Py_DECREF(line);
            return result < 0 ? forgive(path) : Py_NewRef(Py_None);
        }
        if (PyErr_Occurred()) { /* whatever it was, the Python function meets it too, and tells */
            if (!PyErr_ExceptionMatches(PyExc_Exception))
                return NULL;
            PyErr_Clear();
        }
    }
    PyObject *done = PyObject_Vectorcall(self->plain, args, nargsf, kwnames);
    /* The function catches everything itself, if there is room on the stack for it to begin. */
    return done == NULL && PyErr_ExceptionMatches(PyExc_RecursionError) ? forgive(self->way) : done;
}

/* -- the type ----------------------------------------------------------------------------------------------------- */

static PyObject *
method_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plain", "way", "other", "messages", "frames", "foreign", "form_in",
                            "turn",  "now", "screen", "texts",    "limit",  NULL};
    PyObject *plain, *way, *other, *messages, *frames, *foreign, *form_in, *turn, *now, *screen, *texts;
    Py_ssize_t limit;
    if (route_type == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "learn() was not called");
        return NULL;
    }
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO!O!O!O!O!OOOO!O!n", names, &plain, route_type, &way, route_type,
                                     &other, &PyDict_Type, &messages, &PyContextVar_Type, &frames, &PyDict_Type,
                                     &foreign, &form_in, &turn, &now, &PyByteArray_Type, &screen,
                                     &PyDict_Type, &texts, &limit))
        return NULL;
    Method *self = (Method *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = log_call;
    self->plain = Py_NewRef(plain);
    self->way = Py_NewRef(way);
    self->other = Py_NewRef(other);
    self->messages = Py_NewRef(messages);
    self->frames = Py_NewRef(frames);
    self->foreign = Py_NewRef(foreign);
    self->form_in = Py_NewRef(form_in);
    self->turn = Py_NewRef(turn);
    self->now = now == Py_None ? NULL : Py_NewRef(now);
    self->screen = Py_NewRef(screen);
    self->texts = Py_NewRef(texts);
    self->start = INT64_MIN / 2;
    self->limit = limit;
    return (PyObject *)self;
}

static int
method_traverse(PyObject *object, visitproc visit, void *arg)
{
    Method *self = (Method *)object;
    Py_VISIT(self->dict);
    Py_VISIT(self->plain);
    Py_VISIT(self->way);
    Py_VISIT(self->other);
    Py_VISIT(self->messages);
    Py_VISIT(self->frames);
    Py_VISIT(self->foreign);
    Py_VISIT(self->form_in);
    Py_VISIT(self->turn);
    Py_VISIT(self->now);
    Py_VISIT(self->screen);
    Py_VISIT(self->texts);
    return 0;
}

static int
method_clear(PyObject *object)
{
    Method *self = (Method *)object;
    /* What a call reads stays until the object goes: a finalizer may log. */
    Py_CLEAR(self->dict);
    return 0;
}

static void
method_dealloc(PyObject *object)
{
    Method *self = (Method *)object;
    PyObject_GC_UnTrack(object);
    Py_CLEAR(self->dict);
    Py_CLEAR(self->plain);
    Py_CLEAR(self->way);
    Py_CLEAR(self->other);
    Py_CLEAR(self->messages);
    Py_CLEAR(self->frames);
    Py_CLEAR(self->foreign);
    Py_CLEAR(self->form_in);
    Py_CLEAR(self->turn);
    Py_CLEAR(self->now);
    Py_CLEAR(self->screen);
    Py_CLEAR(self->texts);
    Py_CLEAR(self->text);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *
method_get(PyObject *self, PyObject *object, PyObject *type)
{
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

static PyMemberDef method_members[] = {
    {"__wrapped__", Py_T_OBJECT_EX, offsetof(Method, plain), Py_READONLY, "The Python function."},
    {NULL},
};

static PyGetSetDef method_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyTypeObject MethodType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "metaexpert.logger.encoding._fast.Method",
    .tp_basicsize = sizeof(Method),
    .tp_dealloc = method_dealloc,
    .tp_vectorcall_offset = offsetof(Method, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_doc = "A log method of one level.",
    .tp_traverse = method_traverse,
    .tp_clear = method_clear,
    .tp_descr_get = method_get,
    .tp_members = method_members,
    .tp_getset = method_getset,
    .tp_dictoffset = offsetof(Method, dict),
    .tp_new = method_new,
};

static int
find_slot(PyObject *type, const char *name, Py_ssize_t *offset)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL)
        return -1;
    int found = Py_IS_TYPE(descriptor, &PyMemberDescr_Type) &&
                ((PyMemberDescrObject *)descriptor)->d_member->type == Py_T_OBJECT_EX;
    if (found)
        *offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s is not a slot", name);
    Py_DECREF(descriptor);
    return found ? 0 : -1;
}

static PyObject *
learn(PyObject *module, PyObject *args)
{
    PyObject *way, *form, *frame;
    if (!PyArg_ParseTuple(args, "O!O!O!", &PyType_Type, &way, &PyType_Type, &form, &PyType_Type, &frame))
        return NULL;
    if (find_slot(way, "head", &route_head) < 0 || find_slot(way, "lanes", &route_lanes) < 0 ||
        find_slot(way, "count", &route_count) < 0 || find_slot(way, "check", &route_check) < 0 ||
        find_slot(way, "after", &route_after) < 0 || find_slot(way, "number", &route_number) < 0 ||
        find_slot(way, "lost", &route_lost) < 0 ||
        find_slot(way, "failed", &route_failed) < 0 || find_slot(way, "trade", &route_trade) < 0 ||
        find_slot(form, "comma", &context_comma) < 0 || find_slot(form, "bare", &context_bare) < 0 ||
        find_slot(form, "names", &context_names) < 0 || find_slot(form, "trade", &context_trade) < 0 ||
        find_slot(form, "generation", &context_generation) < 0 ||
        find_slot(frame, "encoded", &frame_encoded) < 0)
        return NULL;
    Py_XSETREF(route_type, Py_NewRef(way));
    Py_XSETREF(context_type, Py_NewRef(form));
    Py_XSETREF(frame_type, Py_NewRef(frame));
    Py_RETURN_NONE;
}

static PyObject *
begin_generation(PyObject *module, PyObject *began)
{
    Py_XSETREF(generation, Py_NewRef(began));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"learn", learn, METH_VARARGS, "learn(way, form, frame): take note of the classes that the methods read."},
    {"begin_generation", begin_generation, METH_O, "begin_generation(generation): take forms of that generation alone."},
    {NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "metaexpert.logger.encoding._fast",
    .m_doc = "The compiled form of metaexpert.logger.encoding.fast.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__fast(void)
{
    if (PyType_Ready(&MethodType) < 0)
        return NULL;
    str_form = PyUnicode_InternFromString("_bound_context");
    str_write = PyUnicode_InternFromString("write");
    str_append = PyUnicode_InternFromString("append");
    append_keywords = Py_BuildValue("(s)", "reserve");
    if (!str_form || !str_write || !str_append || !append_keywords)
        return NULL;
    PyObject *module = PyModule_Create(&module_definition);
    if (module != NULL && PyModule_AddObjectRef(module, "Method", (PyObject *)&MethodType) < 0)
        Py_CLEAR(module);
    return module;
}
