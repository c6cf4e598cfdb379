package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// The libraries that Argo CD gives to scripts for which useOpenLibs is not set, beside a part of os that these have no use for.
var libraries = map[string]lua.LGFunction{
	lua.LoadLibName:   lua.OpenPackage,
	lua.BaseLibName:   lua.OpenBase,
	lua.TabLibName:    lua.OpenTable,
	lua.StringLibName: lua.OpenString,
}

// What Argo CD knows of health.
var healths = map[string]bool{"Healthy": true, "Progressing": true, "Degraded": true, "Suspended": true}

// health runs a script as Argo CD does: the object is `obj`, and what it returns has `status` and `message`.
func health(script string, object map[string]any) (string, string, error) {
	if script == "" {
		return "", "", errors.New("there is no health check for this kind")
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// As long as Argo CD gives it.
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	for name, open := range libraries {
		call := lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	told, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script returns %s, not a table", state.Get(-1).Type())
	}
	said := lua.LVAsString(told.RawGetString("status"))
	if !healths[said] {
		return "", "", fmt.Errorf("%q is no health", said)
	}
	return said, lua.LVAsString(told.RawGetString("message")), nil
}

// value is a value of JSON as Argo CD hands it over.
func value(state *lua.LState, from any) lua.LValue {
	switch held := from.(type) {
	case bool:
		return lua.LBool(held)
	case float64:
		return lua.LNumber(held)
	case int64:
		return lua.LNumber(held)
	case string:
		return lua.LString(held)
	case []any:
		table := state.CreateTable(len(held), 0)
		for _, item := range held {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(held))
		for key, item := range held {
			table.RawSetH(lua.LString(key), value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
