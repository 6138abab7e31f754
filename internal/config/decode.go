package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"
)

// decode puts the values into cfg, each by its type. Nothing is converted that
// the hooks below do not name: koanf's own defaults would take "2" for a number
// and 1.9 for 1, and would pass over unknown keys.
func (r *report) decode(k *koanf.Koanf, cfg *Config) {
	err := k.UnmarshalWithConf("", cfg, koanf.UnmarshalConf{
		Tag: tag,
		DecoderConfig: &mapstructure.DecoderConfig{
			ErrorUnused:          true,
			IgnoreUntaggedFields: true,
			MatchName:            func(key, field string) bool { return key == field },
			DecodeHook:           decodeHooks(),
		},
	})
	r.failDecode(err)
}

// failDecode finds the keys in the tree of errors that the decoder returns,
// one level of it at a time.
func (r *report) failDecode(err error) {
	switch e := err.(type) { //nolint:errorlint // the tree is walked level by level, so that no key is missed
	case nil:
	case *mapstructure.DecodeError:
		r.fail(e.Name(), e.Unwrap().Error())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			r.failDecode(inner)
		}
	case interface{ Unwrap() error }:
		r.failDecode(e.Unwrap())
	default:
		r.fail("", err.Error())
	}
}

func decodeHooks() mapstructure.DecodeHookFunc {
	return mapstructure.ComposeDecodeHookFunc(
		defaultsHook,
		textHook(parseShare, wantShare),
		textHook(parseDuration, wantDuration),
		textHook(parseNetwork, wantNetwork),
		textHook(parseListen, wantListen),
		textHook(parseEndpoint, wantEndpoint),
		textHook(parseNameServer, wantNameServer),
		textHook(parseSource, "must be an IP address in quotes"),
		textHook(parseHedge, wantHedge),
		textHook(parseDiscover, "must be mx:NAME or srv:NAME"),
		enumHook(ProtocolSMTP, ProtocolTCP),
		enumHook(Deny421, Deny554, DenyDrop),
		enumHook(ProxyNone, ProxyV1, ProxyV2),
		enumHook(LeastConnections),
		enumHook(ProbeSMTP, ProbeSMTPS, ProbeTCP),
		enumHook(LogDebug, LogInfo, LogWarn, LogError),
		enumHook(LogJSON, LogConsole),
		plainHook,
	)
}

// defaultsHook sets an element of a list to its defaults before the keys that
// were written are put over them.
func defaultsHook(from, to reflect.Value) (any, error) {
	switch to.Type() {
	case reflect.TypeFor[Listener]():
		to.Set(reflect.ValueOf(defaultListener()))
	case reflect.TypeFor[Pool]():
		to.Set(reflect.ValueOf(defaultPool()))
	case reflect.TypeFor[Backend]():
		to.Set(reflect.ValueOf(defaultBackend()))
	}
	return from.Interface(), nil
}

// textHook reads a T from text.
func textHook[T any](parse func(string) (T, error), want string) mapstructure.DecodeHookFuncType {
	return func(_, to reflect.Type, data any) (any, error) {
		if to != reflect.TypeFor[T]() {
			return data, nil
		}
		text, ok := data.(string)
		if !ok {
			return nil, errors.New(want)
		}
		return parse(text)
	}
}

// enumHook takes one of a closed set of words. A word that looks like a number
// (421) may be written as one.
func enumHook[T ~string](words ...T) mapstructure.DecodeHookFuncType {
	return func(_, to reflect.Type, data any) (any, error) {
		if to != reflect.TypeFor[T]() {
			return data, nil
		}
		if n, ok := data.(int); ok {
			data = fmt.Sprint(n)
		}
		text, ok := data.(string)
		if ok && slices.Contains(words, T(text)) {
			return T(text), nil
		}
		known := make([]string, len(words))
		for i, w := range words {
			known[i] = string(w)
			if w == "" {
				known[i] = `""`
			}
		}
		return nil, errors.New(oneOf(known))
	}
}

// plainHook holds text, numbers and truth values apart.
func plainHook(_, to reflect.Type, data any) (any, error) {
	if reflect.TypeOf(data) == to {
		return data, nil
	}
	switch to.Kind() {
	case reflect.String:
		return nil, errors.New("must be text: write it in quotes")
	case reflect.Bool:
		return nil, errors.New("must be true or false")
	case reflect.Int:
		return nil, errors.New("must be a whole number, such as 10")
	case reflect.Uint32:
		if n, ok := data.(int); ok && n >= 0 && n <= math.MaxUint32 {
			return uint32(n), nil
		}
		return nil, fmt.Errorf("must be a whole number of 0 to %d", uint32(math.MaxUint32))
	default:
		return data, nil
	}
}
