/* What a C extension can do that writes one JSON line into a map: the floor beneath every logger that is called from
   Python. It knows nothing of levels, secrets, context, rotation or faults. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Py_buffer map, head, context; /* head: from behind the time to the number; context: the bound fields */
    char *end;                    /* where the next line goes */
    unsigned long long number;
    time_t second; /* whose text is kept */
    char start[64];
    size_t start_length;
} Line;

static char *
put(char *to, const char *from, Py_ssize_t length)
{
    memcpy(to, from, (size_t)length);
    return to + length;
}

static char *
put_digits(char *to, unsigned long long value)
{
    char digits[20], *from = digits + sizeof digits;
    do
        *--from = (char)('0' + value % 10);
    while (value /= 10);
    return put(to, from, digits + sizeof digits - from);
}

/* The common case of a price or a size: at most four decimals. */
static char *
put_float(char *to, double value)
{
    double scaled = value * 10000;
    if (value >= 0 && scaled < 1e15 && scaled == (double)(long long)scaled) {
        unsigned long long whole = (unsigned long long)scaled, rest = whole % 10000;
        to = put_digits(to, whole / 10000);
        *to++ = '.';
        for (unsigned long long place = 1000; place && (rest || place == 1000); rest %= place, place /= 10)
            *to++ = (char)('0' + rest / place);
        return to;
    }
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    to = put(to, text, (Py_ssize_t)strlen(text));
    PyMem_Free(text);
    return to;
}

static char *
put_text(char *to, PyObject *text)
{
    Py_ssize_t length;
    const char *from = PyUnicode_AsUTF8AndSize(text, &length);
    *to++ = '"';
    for (Py_ssize_t i = 0; from != NULL && i < length; i++) {
        if (from[i] == '"' || from[i] == '\\')
            *to++ = '\\';
        *to++ = from[i];
    }
    *to++ = '"';
    return to;
}

static char *
put_value(char *to, PyObject *value)
{
    if (PyUnicode_CheckExact(value))
        return put_text(to, value);
    if (PyFloat_CheckExact(value))
        return put_float(to, PyFloat_AS_DOUBLE(value));
    return put_digits(to, PyLong_AsUnsignedLongLong(value));
}

static PyObject *
call(PyObject *object, PyObject *const *args, size_t count, PyObject *names)
{
    Line *self = (Line *)object;
    Py_ssize_t given = PyVectorcall_NARGS(count), fields = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (self->end + 4096 > (char *)self->map.buf + self->map.len) {
        PyErr_SetString(PyExc_ValueError, "the map is full");
        return NULL;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != self->second) {
        struct tm utc;
        gmtime_r(&now.tv_sec, &utc);
        self->second = now.tv_sec;
        self->start_length = strftime(self->start, sizeof self->start, "{\"timestamp\":\"%Y-%m-%dT%H:%M:%S.", &utc);
    }
    char *to = put(self->end, self->start, (Py_ssize_t)self->start_length);
    long micro = now.tv_nsec / 1000;
    for (int place = 5; place >= 0; place--, micro /= 10)
        to[place] = (char)('0' + micro % 10);
    to = put(to + 6, "Z\"", 2);
    to = put(to, self->head.buf, self->head.len);
    to = put_digits(to, ++self->number);
    to = put(to, ",\"message\":", 11);
    to = put_text(to, args[0]);
    to = put(to, self->context.buf, self->context.len);
    for (Py_ssize_t i = 0; i < fields; i++) {
        *to++ = ',';
        to = put_text(to, PyTuple_GET_ITEM(names, i));
        *to++ = ':';
        to = put_value(to, args[given + i]);
    }
    self->end = put(to, "}\n", 2);
    Py_RETURN_NONE;
}

static PyObject *
line_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    Line *self = (Line *)type->tp_alloc(type, 0);
    if (self == NULL || !PyArg_ParseTuple(args, "w*y*y*", &self->map, &self->head, &self->context))
        return NULL;
    self->vectorcall = call;
    self->end = self->map.buf;
    return (PyObject *)self;
}

static void
line_dealloc(PyObject *object)
{
    Line *self = (Line *)object;
    PyBuffer_Release(&self->map);
    PyBuffer_Release(&self->head);
    PyBuffer_Release(&self->context);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *
used(PyObject *object, PyObject *nothing)
{
    (void)nothing;
    return PyLong_FromSsize_t(((Line *)object)->end - (char *)((Line *)object)->map.buf);
}

static PyMethodDef methods[] = {{"used", used, METH_NOARGS, "Return how many bytes of the map hold lines."}, {0}};

static PyTypeObject line_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "floor_line.Line",
    .tp_basicsize = sizeof(Line),
    .tp_dealloc = line_dealloc,
    .tp_vectorcall_offset = offsetof(Line, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_methods = methods,
    .tp_new = line_new,
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "floor_line", .m_size = -1};

PyMODINIT_FUNC
PyInit_floor_line(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddType(module, &line_type) < 0)
        Py_CLEAR(module);
    return module;
}
